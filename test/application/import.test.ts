/** The parts of an import that need no server: lines, batches, cycles, sets of URNs. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { openScratch } from '../../src/adapters/memory/scratch.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import type { ImportAnswer, ImportEnd } from '../../src/application/import/answers.ts';
import { cyclesOf } from '../../src/application/import/cycles.ts';
import { type DeferredRow, DeferredRows } from '../../src/application/import/deferred.ts';
import { Imports } from '../../src/application/import/imports.ts';
import { type ImportRow, inBatches, readRows } from '../../src/application/import/rows.ts';
import { UrnSet } from '../../src/application/import/urn-set.ts';
import type { Tenant } from '../../src/application/ports/tenant-directory.ts';
import { openServices } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { type CustomerUrn, customerUrn, type TenantId } from '../../src/domain/identity.ts';

type Row = { readonly customer: object; readonly claimedRegion: object };

/** A row that creates a customer. */
const newRow = (line: number): ImportRow => ({
  line,
  value: {
    customer: { externalIdentifier: `crm-${line}` },
    claimedRegion: { countryCode: 'DE', languageCode: 'de' },
  },
});

async function rowsOf(chunks: readonly (string | Buffer)[], maxBytes = 64): Promise<ImportRow[]> {
  async function* source() {
    for (const chunk of chunks) yield Buffer.from(chunk as string);
  }
  const rows: ImportRow[] = [];
  for await (const some of readRows(source(), maxBytes)) rows.push(...some);
  return rows;
}

t.test('lines are numbered as an editor numbers them', async (t) => {
  t.strictSame(await rowsOf(['\ufeff{"a":1}\r\n\r\n  \n[2]\n3']), [
    { line: 1, value: { a: 1 } },
    { line: 4, value: [2] },
    { line: 5, value: 3 },
  ]);
  t.strictSame(await rowsOf([]), []);
  t.strictSame(await rowsOf(['\n\n']), []);
});

t.test('a line that is no JSON, not UTF-8 or too long is refused, and the next one is read', async (t) => {
  const long = 'x'.repeat(65);
  const rows = await rowsOf([
    Buffer.from([0x22, 0xff, 0x22, 0x0a]),
    `{"a":\n${long}\n"${'x'.repeat(62)}"\n`,
    'y'.repeat(900),
    '\n1',
  ]);
  t.strictSame(rows, [
    { line: 1, problem: 'malformed' },
    { line: 2, problem: 'malformed' },
    { line: 3, problem: 'too long' },
    { line: 4, value: 'x'.repeat(62) },
    { line: 5, problem: 'too long' },
    { line: 6, value: 1 },
  ]);
  t.strictSame(await rowsOf([`\ufeff"${'x'.repeat(62)}"\r\n`]), [{ line: 1, value: 'x'.repeat(62) }]);
});

t.test('chunks may end anywhere', async (t) => {
  const text = Buffer.from('\ufeff{"a":"ä€😀"}\r\n\n"zwei"\r\n\r\n[3]');
  const whole = await rowsOf([text]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(text.length)), async (cuts) => {
      const at = [0, ...cuts.sort((one, other) => one - other), text.length];
      const chunks = at.slice(1).map((end, index) => text.subarray(at[index], end));
      t.strictSame(await rowsOf(chunks), whole);
    }),
    { numRuns: 100 },
  );
});

t.test('batches are full, unless the source makes them wait', async (t) => {
  const row = (line: number): ImportRow => ({ line, value: line });
  async function* source() {
    yield Array.from({ length: 600 }, (_, index) => row(index));
    yield [row(600)];
    await new Promise((resolve) => setTimeout(resolve, 20));
    yield [row(601)];
    yield [];
    yield [row(602)];
  }
  const sizes: number[] = [];
  const lines: number[] = [];
  for await (const batch of inBatches(source())) {
    if (batch.length > 0) sizes.push(batch.length);
    lines.push(...batch.map(({ line }) => line));
  }
  t.strictSame(sizes, [240, 240, 121, 2]);
  t.strictSame(
    lines,
    Array.from({ length: 603 }, (_, index) => index),
  );
});

t.test('cycles are the rows that wait only for each other', async (t) => {
  const urn = (sequence: number) => customerUrn('00', sequence);
  const row = (of: number, ...holders: readonly number[]) =>
    ({
      urn: urn(of),
      request: { kind: 'sync', line: of },
      result: { conflicts: holders.map((holder) => ({ customerUrn: urn(holder) })) },
    }) as unknown as DeferredRow;
  const cycles = (...rows: DeferredRow[]) => {
    const byUrn = new Map(rows.map((one) => [one.urn, one]));
    return cyclesOf(rows, (of) => byUrn.get(of))
      .map((cycle) => cycle.map(({ request }) => request.line).sort())
      .sort();
  };
  t.strictSame(cycles(row(1, 2), row(2, 1)), [[1, 2]]);
  t.strictSame(cycles(row(1, 2), row(2, 3), row(3, 1), row(4, 5), row(5, 4)), [
    [1, 2, 3],
    [4, 5],
  ]);
  t.strictSame(cycles(row(1, 2), row(2, 1), row(3, 1)), [[1, 2]], 'without a row that only waits for it');
  t.strictSame(cycles(row(1, 2), row(2, 1, 3), row(3, 4), row(4, 3)), [[3, 4]], 'a cycle that waits for another one');
  t.strictSame(cycles(row(1, 2, 3), row(2, 1), row(3, 1)), [[1, 2, 3]], 'two cycles with one customer in common');
  const long = Array.from({ length: 20_000 }, (_, index) => row(index, (index + 1) % 20_000));
  t.equal(cycles(...long)[0]?.length, 20_000);
  t.strictSame(cycles(...long.slice(0, -1)), []);
  t.strictSame(cycles(row(1, 2), row(2, 9)), [], 'a chain to a customer outside');
  t.strictSame(cycles(row(1, 2, 9), row(2, 1)), []);
  t.strictSame(cycles(), []);
  const [one, two] = [row(1, 2), row(2, 1)];
  const rowOf = (of: CustomerUrn) => [one, two].find((each) => each.urn === of);
  t.equal(cyclesOf([one], rowOf).length, 1, 'found from one of its rows');
});

t.test('a deferred row does not keep its line in memory', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const held = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const rows = new DeferredRows();
  const before = held();
  for (let line = 1; line <= 500; line += 1) {
    // Trimmed, it is a slice of 60,000 characters.
    const firstName = `${' '.repeat(60_000)}Jane of the long line ${line}`.trim();
    rows.add({
      request: { kind: 'sync', line, by: { externalId: `crm-${line}` }, content: { firstName } },
      names: [],
      urn: undefined,
      result: { conflicts: [] },
    } as unknown as DeferredRow);
  }
  const grown = held() - before;
  t.ok(grown < 5_000_000, `${grown} bytes`);
  t.equal(rows.size, 500);
});

t.test('a set of URNs', async (t) => {
  const set = new UrnSet();
  const added = [1, 7, 8, 65_535, 65_536, 10 ** 12].map((sequence) => customerUrn('00', sequence));
  for (const urn of added) set.add(urn);
  for (const urn of added) t.ok(set.has(urn));
  for (const sequence of [0, 2, 9, 65_534, 65_537]) t.notOk(set.has(customerUrn('00', sequence)));
  t.notOk(set.has(customerUrn('01', 1)));
});

t.test('a long chain of customers that wait for each other', async (t) => {
  const referenceData = createReferenceData();
  const repository = new MemoryCustomers(referenceData);
  const tries = t.capture(repository, 'sync', repository.sync);
  const imports = new Imports({
    repository,
    referenceData,
    openScratch: () => openScratch(referenceData),
    clock: Date.now,
    tombstoneDays: 30,
    maxImports: 1,
  });
  const length = 3_000;
  const run = async (phoneOf: (index: number) => number, order: (index: number) => number, allowed = Infinity) => {
    let asked = 0;
    const caller = { tenant: { id: 'acme' } as Tenant, keyId: 'test' };
    const isAllowed = async () => ++asked <= allowed;
    const accepted = imports.accept(caller, {}, { requestId: 'test', isAllowed, onFailure: (error) => t.error(error) });
    if ('status' in accepted) throw new Error('the import was refused');
    const rows = Array.from({ length }, (_, at): ImportRow => {
      const index = order(at);
      const { customer, claimedRegion } = (newRow(index) as { value: Row }).value;
      const phoneNumber = `+4930${1_000_000 + phoneOf(index)}`;
      return { line: at + 1, value: { customer: { ...customer, phoneNumber }, claimedRegion } };
    });
    async function* source() {
      yield rows;
    }
    const answers: ImportAnswer[] = [];
    for await (const some of accepted.answers(source())) answers.push(...some);
    accepted.release();
    return answers.at(-1);
  };
  const inOrder = (index: number) => index;
  // A permutation in which neighbours are far apart.
  const scattered = (index: number) => (index * 1_801) % length;
  t.match(await run((index) => index, inOrder), { summary: { created: length } });
  const stopped = await run((index) => index + 1, scattered, 14);
  t.match(stopped, { status: { messageCode: 'FORBIDDEN' } }, 'can be stopped between two attempts');
  t.ok((stopped as ImportEnd).summary.refused > 0, 'rows that wait are answered');
  tries();
  t.match(await run((index) => index + 1, scattered), { summary: { refused: 0 }, status: { messageCode: 'SUCCESS' } });
  const count = tries().length;
  t.ok(count < 4 * length, `a row is tried again only once what it waits for has changed: ${count}`);
});

t.test('an import that is stopped as its rows end, or in the search for extra customers, says so', async (t) => {
  const services = await openServices({ ...readConfig({}, {}), storage: 'memory' }, { mayCreate: true });
  t.teardown(() => services.close());
  await services.tenants.add('acme' as TenantId, {});
  const [tenant] = (await services.tenants.list()) as [Tenant];
  /** Imports rows as a complete file. `allowed` is how many times the import may ask whether to go on. */
  const run = async (from: number, count: number, allowed: number) => {
    let asked = 0;
    const accepted = services.imports.accept(
      { tenant, keyId: 'test' },
      { complete: 'true' },
      {
        requestId: 'test',
        isAllowed: async () => ++asked <= allowed,
        onFailure: (error) => t.error(error),
      },
    );
    if ('status' in accepted) throw new Error('the import was refused');
    async function* rows() {
      yield Array.from({ length: count }, (_, index) => newRow(from + index));
    }
    const answers: ImportAnswer[] = [];
    for await (const some of accepted.answers(rows())) answers.push(...some);
    accepted.release();
    return answers;
  };
  await run(1, 600, Number.POSITIVE_INFINITY);
  await new Promise((resolve) => setTimeout(resolve, 2));
  const stopped = { messageCode: 'FORBIDDEN' };
  t.match(await run(1001, 0, 0), { length: 1, 0: { summary: { extra: undefined }, status: stopped } });
  t.match(await run(1001, 0, 1), { length: 201, 200: { summary: { extra: 200 }, status: stopped } });
  const whole = await run(1001, 1, Number.POSITIVE_INFINITY);
  t.match(whole.at(-1), { summary: { created: 1, extra: 600 }, status: { messageCode: 'SUCCESS' } });
});
