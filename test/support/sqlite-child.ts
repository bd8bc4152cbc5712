/**
 * A process that uses a data folder: `node sqlite-child.ts <task> <argument>…`. It prints `ready` when it has loaded, and
 * starts its task at the first line of its standard input. It prints a line only after the event that the line reports.
 */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import Database from 'better-sqlite3';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { rotateMasterKey } from '../../src/adapters/sql/root-keys.ts';
import { byUrn, openFolder, overwrite, storedIn, tenantOf } from './storage.ts';

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (...words: readonly unknown[]) => process.stdout.write(`${words.join(' ')}\n`);

async function open(dataDir: string) {
  const { database, repository } = await openFolder(dataDir);
  return { database, acme: tenantOf(repository) };
}
type Acme = Awaited<ReturnType<typeof open>>['acme'];

/** Stores a customer, then prints `<ExternalId> <CustomerUrn or code>`. */
async function add(acme: Acme, externalId: string, email: string): Promise<void> {
  const answer = await acme.store(externalId, { email });
  say(externalId, answer.code === 'SUCCESS' ? answer.stored.customer.customerUrn : answer.code);
}

const tasks: Record<string, (path: string, argument: string) => Promise<void>> = {
  /** Opens and closes a data folder, then the folder that each further line of its input names. */
  async open(path) {
    for (let next: string | undefined = path; next; next = (await input.next()).value) {
      const { database } = await open(next);
      await database.close();
      say('opened');
    }
  },

  /** Stores `count` customers with the ExternalIds `crm-0`, `crm-1`, … */
  async add(path, count) {
    const { database, acme } = await open(path);
    const numbers = Array.from({ length: Number(count) }, (_, number) => number);
    // Five at a time, so that the transactions of several processes alternate.
    while (numbers.length > 0) {
      await Promise.all(numbers.splice(0, 5).map((number) => add(acme, `crm-${number}`, `${number}@example.com`)));
    }
    await database.close();
  },

  /** Stores customers in four parallel lanes until the process is killed. */
  async addForever(path, prefix) {
    const { acme } = await open(path);
    const lane = async (number: number): Promise<never> => {
      for (let count = 0; ; count += 1)
        await add(acme, `${prefix}-${number}-${count}`, `${prefix}.${number}.${count}@example.com`);
    };
    await Promise.all([1, 2, 3, 4].map(lane));
  },

  /** Stores and erases customers in four parallel lanes until killed. Prints `stored <URN>`, then `erased <URN>`. */
  async eraseForever(path, prefix) {
    const { acme } = await open(path);
    const lane = async (number: number): Promise<never> => {
      for (let count = 0; ; count += 1) {
        const name = `${prefix}-${number}-${count}`;
        const { by, customer } = storedIn(await acme.store(name, { email: `${name}@example.com` }));
        say('stored', customer.customerUrn);
        await acme.erase(by);
        say('erased', customer.customerUrn);
      }
    };
    await Promise.all([1, 2, 3, 4].map(lane));
  },

  /** For each further line of input, a CustomerUrn: updates the customer until it is erased, then prints how often. */
  async changeUntilGone(path) {
    const { acme } = await open(path);
    for await (const urn of input) {
      let changes = 0;
      while ((await acme.update(byUrn(urn), overwrite({ firstName: `changed ${changes}` }))).code === 'SUCCESS') {
        changes += 1;
      }
      say(changes);
    }
  },

  /** Rotates the master key `count` times. */
  async rotate(path, count) {
    const { database } = await open(path);
    for (let time = 0; time < Number(count); time += 1) {
      await rotateMasterKey({ database, masterKeyFile: join(path, 'master.key') });
    }
    await database.close();
  },

  /** Holds the write lock until the next line of its input. */
  async lock(path) {
    const database = new Database(sqliteFiles(path).data);
    database.exec('BEGIN IMMEDIATE');
    say('locked');
    await input.next();
    database.exec('COMMIT');
    database.close();
  },
};

const [task = '', ...words] = process.argv.slice(2);
say('ready');
await input.next();
await tasks[task]?.(...(words as [string, string]));
process.exit();
