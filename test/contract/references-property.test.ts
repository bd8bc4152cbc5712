/** Memory and SQLite have the same references after random binds, merges and erasures, and summaries that count them. */
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createMemoryReferences } from '../../src/adapters/memory/references.ts';
import type { CustomerUrn } from '../../src/domain/identity.ts';
import { connectSqlite, newFolder, noon, referenceData, tenantId, tenantOf } from '../support/storage.ts';
import type { ReferenceStorage } from './references.ts';

const people = 4;
const person = fc.nat(people - 1);

type Step =
  | {
      readonly bind: number;
      readonly kind: 'subscription' | 'offer';
      readonly reference: string;
      readonly isActive: boolean;
    }
  | { readonly merge: number; readonly into: number }
  | { readonly erase: number }
  | { readonly read: number };
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      bind: person,
      kind: fc.constantFrom('subscription', 'subscription', 'offer'),
      reference: fc.constantFrom('a', 'b', 'c', 'd'),
      isActive: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ merge: person, into: person }) },
  { weight: 1, arbitrary: fc.record({ erase: person }) },
  { weight: 3, arbitrary: fc.record({ read: person }) },
);

/** Runs the steps for customers of its own. Returns all answers, and how many summaries differ from their list. */
async function run({ repository, references }: ReferenceStorage, all: readonly Step[], round: number) {
  const acme = tenantId('acme');
  const tenant = tenantOf(repository);
  const urns: CustomerUrn[] = [];
  for (let index = 0; index < people; index += 1) {
    urns.push((await tenant.mustStore(`crm-${round}-${index}`)).customer.customerUrn);
  }
  const urn = (index: number) => urns[index] as CustomerUrn;
  const answers: unknown[] = [];
  let uncounted = 0;
  async function read(index: number): Promise<void> {
    const found = await references.find(acme, { urn: urn(index) });
    const listed = (await references.list(acme, urn(index))) ?? [];
    const subscriptions = listed.filter(({ kind }) => kind === 'subscription');
    const active = subscriptions.filter(({ state }) => state === 'active').length;
    const counted = { total: subscriptions.length, active, canceled: subscriptions.length - active };
    answers.push({ listed, summary: found?.subscriptions });
    if (!isSame(found?.subscriptions, counted)) uncounted += 1;
  }
  for (const [now, step] of all.entries()) {
    if ('bind' in step) {
      const { kind, isActive } = step;
      const state = isActive ? 'active' : 'canceled';
      const wanted = { customerUrn: urn(step.bind), kind, reference: `${round}.${step.reference}`, state } as const;
      answers.push(await references.bind(acme, wanted, noon + now));
    } else if ('merge' in step) {
      if (step.merge !== step.into) {
        answers.push((await tenant.merge({ urn: urn(step.merge) }, { urn: urn(step.into) })).code);
      }
    } else if ('erase' in step) answers.push((await tenant.erase({ urn: urn(step.erase) })).code);
    else await read(step.read);
  }
  for (let index = 0; index < people; index += 1) await read(index);
  await setImmediate();
  return { answers, uncounted };
}

const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

async function storages(t: Test): Promise<readonly ReferenceStorage[]> {
  const repository = new MemoryCustomers(referenceData);
  return [{ repository, references: createMemoryReferences(repository) }, await connectSqlite(t, newFolder(t))];
}

t.test('the summary counts the list, and both storages answer the same', async (t) => {
  const [memory, sqlite] = (await storages(t)) as [ReferenceStorage, ReferenceStorage];
  let round = 0;
  let merges = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 30 }), async (all) => {
      round += 1;
      const [one, other] = [await run(memory, all, round), await run(sqlite, all, round)];
      merges += all.filter((step) => 'merge' in step).length;
      return isSame(one.answers, other.answers) && one.uncounted + other.uncounted === 0;
    }),
    { numRuns: 60 },
  );
  t.ok(merges > 50, 'merges were among the steps');
});
