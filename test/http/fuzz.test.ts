/**
 * Grouped by method: thousands of generated requests over the whole server. Each gets a timely answer that conforms to the
 * description and is no 500, and a refused request stores nothing. `C2A_FUZZ_SEED` repeats a run, `C2A_FUZZ_FACTOR` makes it
 * longer.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { storing } from '../support/client.ts';
import { fuzzedRequests, mutatedBytes } from '../support/malice.ts';
import { type Service, startService } from '../support/service.ts';
import { envelopeFaults, exchangeAll, portOf, rawRequests, within } from '../support/sockets.ts';

const seed = Number(process.env.C2A_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
const factor = Number(process.env.C2A_FUZZ_FACTOR ?? 1);
t.comment(`C2A_FUZZ_SEED=${seed}`);

/** Repeatable; on a slow machine the time limit ends it before the runner does. */
const cases = (count: number, limitMs: number) => ({
  seed,
  numRuns: count * factor,
  interruptAfterTimeLimit: limitMs * factor,
  markInterruptAsFailure: false,
});

/** A service with a few customers, and a connection of its own that sees changes of the table. */
async function startWatched(test: Test) {
  const dataDir = test.testdir({});
  const service = await startService(test, { storage: 'sqlite', dataDir, config: { rateLimit: 'off' } });
  for (const externalIdentifier of ['crm-1', 'crm-2', 'crm-3']) {
    const email = `${externalIdentifier}@example.com`;
    assert.equal((await service.post('store', storing({ externalIdentifier, email }))).status, 200);
  }
  const outside = new Database(join(dataDir, 'customers.db'), { readonly: true });
  test.teardown(() => outside.close());
  const everything = outside.prepare('SELECT * FROM customers ORDER BY rowid').raw();
  let version: unknown;
  let digest = '';
  /** True where the rows differ from those of the last call. */
  function changed(): boolean {
    const present = outside.pragma('data_version', { simple: true });
    if (present === version) return false;
    const before = digest;
    const hash = createHash('sha256');
    for (const row of everything.iterate()) hash.update(JSON.stringify(row));
    digest = hash.digest('hex');
    version = present;
    return digest !== before;
  }
  changed();
  return { ...service, changed };
}

/** Counts outcomes, so that the test fails where the requests no longer reach all of them. */
function tallied(test: Test) {
  const seen = new Map<string, number>();
  return {
    count: (outcome: string) => seen.set(outcome, (seen.get(outcome) ?? 0) + 1),
    report(expected: readonly string[]) {
      const total = [...seen.values()].reduce((sum, one) => sum + one, 0);
      test.comment(`${total} answers: ${JSON.stringify(Object.fromEntries([...seen].sort()))}`);
      for (const outcome of expected) test.ok(seen.has(outcome), `${outcome} was seen`);
    },
  };
}

/** `info` must return the record that a store or an update has answered. */
async function assertKept({ info }: Pick<Service, 'info'>, result: unknown): Promise<void> {
  const { customerUrn: urn } = result as { customerUrn: string };
  const { availableChannels: _, ...found } = (await info({ urn })).result as unknown as Record<string, unknown>;
  const { options: __, subscriptionSummary: ___, ...record } = found;
  assert.deepEqual(record, result);
}

t.test('requests generated from the description, and mutated', async (t) => {
  const service = await startWatched(t);
  const { credentials, send, changed } = service;
  const { count, report } = tallied(t);
  const requests = fuzzedRequests({ ...credentials });
  await fc.assert(
    fc.asyncProperty(requests, async (request) => {
      // Throws where the answer differs from its description.
      const { status, outcome, result } = await within('an answer', send(request));
      count(outcome);
      assert.ok(status < 500, outcome);
      if (status !== 200) assert.equal(changed(), false, 'a refusal changed what is stored');
      else if (changed() && result) await assertKept(service, result);
    }),
    cases(4_000, 30_000),
  );
  report([
    '200 SUCCESS',
    '400 BAD_REQUEST',
    '400 INVALID_REQUEST',
    '401',
    '404 CUSTOMER_NOT_FOUND',
    '404 NOT_FOUND',
    '405 METHOD_NOT_ALLOWED',
    '409 CUSTOMER_ALREADY_STORED',
    '415 UNSUPPORTED_MEDIA_TYPE',
  ]);
});

t.test('mutated bytes of requests', async (t) => {
  const service = await startWatched(t);
  const { changed, info } = service;
  const port = await portOf(service);
  const { get, post } = rawRequests(service);
  const { count, report } = tallied(t);
  const declared = (body: string, route: string) => post(`Content-Length: ${body.length}\r\n`, body, route);
  const store = JSON.stringify(storing({ externalIdentifier: 'crm-4', email: 'jane@example.com', firstName: 'Jane' }));
  const update = JSON.stringify({ customer: { externalIdentifier: 'crm-1', lastName: 'Doe' } });
  const chunked = post('Transfer-Encoding: chunked\r\n', `4\r\n{"ex\r\ne\r\nternalId":"x"}\r\n0\r\n\r\n`);
  const originals = [
    get(),
    chunked,
    declared(store, 'store'),
    declared(update, 'update'),
    declared('{"externalIdentifier":"crm-4"}', 'delete'),
    get() + chunked + get(),
    declared(update, 'update') + get(),
  ];
  await fc.assert(
    fc.asyncProperty(mutatedBytes(originals), async (bytes) => {
      const answers = await exchangeAll(port, Buffer.from(bytes, 'latin1'));
      for (const answer of answers) {
        count(answer.outcome);
        assert.deepEqual(envelopeFaults(answer), []);
        assert.ok(answer.status < 500, answer.outcome);
      }
      if (/[^\r\n]/.test(bytes)) assert.notEqual(answers.length, 0, 'no answer');
      const refused = answers.every(({ status }) => status !== 200);
      assert.ok(!changed() || !refused, 'a refusal changed what is stored');
    }),
    cases(3_000, 30_000),
  );
  t.equal((await info({ exId: 'crm-2' })).status, 200, 'the server still serves');
  report(['200 SUCCESS', '400 BAD_REQUEST', '401', '404 NOT_FOUND']);
});
