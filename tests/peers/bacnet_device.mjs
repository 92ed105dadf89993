// A BACnet device of node-bacnet at 127.0.0.1:PORT: analog-input 1 is 19.25, and can be read; nothing else is there.
import Bacnet from "node-bacnet";

const [UNKNOWN_CLASS, UNKNOWN_PROPERTY, READ, REAL] = [2, 32, 12, 4];
const client = new Bacnet({port: Number(process.argv[2]), interface: "127.0.0.1", broadcastAddress: "127.0.0.1"});
client.on("error", (error) => { console.error(error); process.exit(1); });
client.on("readProperty", ({header, invokeId, payload}) => {
  const {objectId, property} = payload;
  if (objectId.type === 0 && objectId.instance === 1 && property.id === 85) {
    client.readPropertyResponse(header.sender, invokeId, objectId, property, [{type: REAL, value: 19.25}]);
  } else {
    client.errorResponse(header.sender, READ, invokeId, UNKNOWN_CLASS, UNKNOWN_PROPERTY);
  }
});
client.on("listening", () => console.log("ready"));
