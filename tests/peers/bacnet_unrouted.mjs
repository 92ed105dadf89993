// node-bacnet as a program that knows nothing of routers, at a local port PORT that is one device: finds it by asking
// the port, then reads and writes there. Writes what it was told as JSON.
import Bacnet from "node-bacnet";

const [port, own] = process.argv.slice(2).map(Number);
const client = new Bacnet({port: own, interface: "127.0.0.1", broadcastAddress: "127.0.0.1", apduTimeout: 10000});
const address = `127.0.0.1:${port}`;
const ask = (service, ...parameters) => new Promise((resolve) => {
  client[service](...parameters, (error, value) => resolve(error ? String(error) : value));
});
const setpoint = {type: 2, instance: 1};
const write = (type, value) => ask("writeProperty", {address}, setpoint, 85, [{type, value}], {priority: 11});

client.on("error", (error) => { console.error(error); process.exit(1); });
client.on("listening", () => client.whoIs({address}));
client.on("iAm", async ({header, payload}) => {
  const told = {device: payload.deviceId, network: header.sender.net ?? null};
  const list = await ask("readProperty", {address}, {type: 8, instance: payload.deviceId}, 76);
  told.objects = list.values.length;
  told.written = await write(4, 22.25) ?? "done";
  told.setpoint = (await ask("readProperty", {address}, setpoint, 85)).values[0].value;
  told.denied = await write(4, 99);
  told.released = await write(0, null) ?? "done";
  console.log(JSON.stringify(told));
  process.exit(0);
});
