// Reads the object list of the device at 127.0.0.1:PORT and writes the instances in it as JSON.
import { createRequire } from 'node:module';

const Client = createRequire(import.meta.url)('@bacnet-js/client').default;
const [port, instance] = process.argv.slice(2).map(Number);
const client = new Client({ interface: '127.0.0.1', port: 0, apduTimeout: 20000 });

client.on('listening', async () => {
  try {
    const found = await client.readProperty({ address: `127.0.0.1:${port}` }, { type: 8, instance }, 76);
    process.stdout.write(JSON.stringify(found.values.map((one) => one.value.instance)));
  } finally {
    client.close();
  }
});
