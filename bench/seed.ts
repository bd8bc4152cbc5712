/**
 * Fills a storage with customers: `node bench/seed.ts <customers>`. The environment names the storage, as for `serve`. The
 * customers have the ExternalIds `crm-1`, `crm-2`, … and, in that order, the URNs `cu.00.1`, `cu.00.2`, …. Prints the
 * credentials of their tenant as JSON headers.
 */
import { openServices } from '../src/compose.ts';
import { readConfig } from '../src/config.ts';
import { createDemoTenant } from '../src/process/demo.ts';
import { customerBody } from './customer.ts';

const customers = Number(process.argv[2]);
/** Stores in flight: enough to fill every group commit. */
const inFlight = 1024;

const services = await openServices(readConfig(), { mayCreate: true });
try {
  const credentials = await createDemoTenant(services, 'acme');
  const caller = await services.authentication.authenticate({
    tenant: credentials['x-tn'],
    apiKey: credentials['x-api-key'],
    authorization: undefined,
  });
  if (caller === undefined) throw new Error('the new tenant could not be authenticated');

  const store = async (number: number) => {
    const { status } = await services.customers.store(caller, customerBody(number), { requestId: 'seed' });
    if (status.messageCode !== 'SUCCESS') throw new Error(`customer ${number}: ${status.messageCode}`);
  };
  for (let first = 1; first <= customers; first += inFlight) {
    const count = Math.min(inFlight, customers - first + 1);
    await Promise.all(Array.from({ length: count }, (_, index) => store(first + index)));
    if (process.stderr.isTTY && first % (inFlight * 64) === 1) process.stderr.write(`\r${first} customers`);
  }
  console.log(JSON.stringify(credentials));
} finally {
  await services.close();
}
