// node-bacnet, which cannot register as a foreign device, at the local port PORT of the broker's network: finds devices
// by asking the port itself, then reads and writes them behind the router. Writes what it was told as JSON.
import Bacnet from "node-bacnet";

const [port, network] = process.argv.slice(2).map(Number);
const client = new Bacnet({port: Number(process.argv[4]), interface: "127.0.0.1", broadcastAddress: "127.0.0.1",
                           apduTimeout: 10000});
const address = `127.0.0.1:${port}`;
const at = (instance) => ({address, net: network, adr: [instance >> 16, (instance >> 8) & 255, instance & 255]});
const found = new Set();
const ask = (service, ...parameters) => new Promise((resolve) => {
  client[service](...parameters, (error, value) => resolve(error ? String(error) : value));
});
const read = async (instance, object, property) => (await ask("readProperty", at(instance), object, property)).values;

client.on("error", (error) => { console.error(error); process.exit(1); });
client.on("listening", () => client.whoIs({address}));
client.on("iAm", async ({payload}) => {
  found.add(payload.deviceId);
  if (![2002, 2005].every((instance) => found.has(instance))) return;
  const told = {};
  const all = [{objectId: {type: 0, instance: 1}, properties: [{id: 8}]}];
  const setpoint = {type: 2, instance: 1};
  const write = (type, value) => ask("writeProperty", at(2002), setpoint, 85, [{type, value}], {priority: 11});
  told.own = (await read(2005, {type: 0, instance: 1}, 85))[0].value;
  told.all = (await ask("readPropertyMultiple", at(2002), all)).values[0].values.map((each) => each.id);
  told.written = await write(4, 22.25) ?? "done";
  told.setpoint = (await read(2002, setpoint, 85))[0].value;
  told.denied = await write(4, 99);
  told.released = await write(0, null) ?? "done";
  console.log(JSON.stringify(told));
  process.exit(0);
});
