// Reads a JSON list of BACnet/IP messages, each as octets and as fields, and writes for each what @bacnet-js/client
// makes of the fields and what it reads in the octets.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const bvlc = require('@bacnet-js/client/dist/lib/bvlc.js');
const npdu = require('@bacnet-js/client/dist/lib/npdu.js');
const apdu = require('@bacnet-js/client/dist/lib/apdu.js');

const station = (address) =>
  address === null ? undefined : { net: address.net, adr: address.adr.length ? address.adr : undefined };

function encodeApdu(buffer, f) {
  switch (f.type & 0xf0) {
    case 0x00:
      return apdu.encodeConfirmedServiceRequest(
        buffer, f.type, f.service, f.maxSegments, f.maxApdu, f.invoke, f.sequence, f.window);
    case 0x10: return apdu.encodeUnconfirmedServiceRequest(buffer, f.type, f.service);
    case 0x20: return apdu.encodeSimpleAck(buffer, f.type, f.service, f.invoke);
    case 0x30: return apdu.encodeComplexAck(buffer, f.type, f.service, f.invoke, f.sequence, f.window);
    case 0x40: return apdu.encodeSegmentAck(buffer, f.type, f.invoke, f.sequence, f.window);
    case 0x50: return apdu.encodeError(buffer, f.type, f.service, f.invoke);
    default: return apdu.encodeAbort(buffer, f.type, f.invoke, f.service);
  }
}

function encode(message) {
  const start = message.origin === null ? 4 : 10;
  const buffer = { buffer: Buffer.alloc(1600), offset: start };
  const n = message.npdu;
  if (n !== null) {
    npdu.encode(buffer, n.funct, station(n.destination), station(n.source), n.hopCount, n.message);
  }
  if (message.apdu !== null) encodeApdu(buffer, message.apdu);
  const rest = Buffer.from(message.rest, 'hex');
  rest.copy(buffer.buffer, buffer.offset);
  const end = buffer.offset + rest.length;
  bvlc.encode(buffer.buffer, message.function, end, message.origin ?? undefined);
  return buffer.buffer.subarray(0, end).toString('hex');
}

function decodeApdu(octets, at) {
  const decoders = [
    apdu.decodeConfirmedServiceRequest, apdu.decodeUnconfirmedServiceRequest, apdu.decodeSimpleAck,
    apdu.decodeComplexAck, apdu.decodeSegmentAck, apdu.decodeError, apdu.decodeAbort, apdu.decodeAbort,
  ];
  return decoders[octets[at] >> 4](octets, at);
}

function decode(message) {
  const octets = Buffer.from(message.octets, 'hex');
  const link = bvlc.decode(octets, 0);
  if (message.npdu === null) return { link };
  const network = npdu.decode(octets, link.len);
  if (message.apdu === null) return { link, network };
  const application = decodeApdu(octets, link.len + network.len);
  return { link, network, application, rest: octets.subarray(link.len + network.len + application.len).toString('hex') };
}

const messages = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(messages.map((one) => ({ encoded: encode(one), decoded: decode(one) }))));
