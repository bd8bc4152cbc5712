/**
 * `npm run bench`: the service's throughput as a ratio to that of its rivals: a bare Fastify (`bare.ts`), raw statements
 * with the same durability (`limit.ts`), and a service without our optimizations (`plain.ts`). Starts all on one core,
 * loads them in turns from the other core with wrk (`load.lua`), and prints medians over the rounds and the goals.
 * `npm run bench -- --help` lists the options.
 */
import { writeFileSync } from 'node:fs';
import { growthVerdicts } from './goals.ts';
import { compare, type Rivals, type Row } from './measuring.ts';
import { options, type Storage } from './options.ts';
import { startRival, startService } from './servers.ts';
import { printHead, printRow } from './table.ts';

const rows: Row[] = [];

async function measureAll(storage: Storage, customers: number): Promise<void> {
  const service = await startService(storage, customers);
  const rivals: Rivals = {};
  try {
    for (const rival of options.rivals) {
      const started = await startRival(rival, service);
      if (started !== undefined) rivals[rival] = started;
    }
    for (const load of options.loads) {
      for (const connections of options.connections) {
        const row = await compare(rivals, service, load, connections);
        printRow(row);
        rows.push(row);
      }
    }
  } finally {
    // The service last, as its PostgreSQL is the rivals' too.
    await Promise.all(Object.values(rivals).map((rival) => rival.stop()));
    await service.stop();
  }
}

printHead();
for (const storage of options.storages) {
  for (const customers of options.customers) await measureAll(storage, customers);
}
for (const { goal, isMet } of growthVerdicts(rows)) console.log(`${isMet ? 'met' : 'MISSED'}: ${goal}`);
writeFileSync(options.out, `${JSON.stringify({ options, rows }, null, 2)}\n`);
