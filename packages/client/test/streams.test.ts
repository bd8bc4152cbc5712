/** Imports, exports and the feed: order, backpressure, and how they go on after a failure. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { type ImportAnswer, type ImportRow, RefusedError } from '../src/index.ts';
import { all, claimedRegion, start, stateOf } from './support/service.ts';

const rowsOf = (count: number, fields: (index: number) => object = () => ({})) =>
  Array.from({ length: count }, (_, index) => stateOf(`crm-${index}`, fields(index)));
const outcomesOf = (answers: readonly ImportAnswer[]) =>
  answers.map((answer) => ('line' in answer ? `${answer.line} ${answer.outcome}` : answer.outcome));

const refusedFor = (refusal: object) => ({ name: 'RefusedError', refusal });

t.test('an import answers each row with what it was', async (t) => {
  const { c2a, clientOf, service } = await start(t);
  await c2a.store(stateOf('gone'));
  const rows: ImportRow[] = [
    ...rowsOf(2),
    stateOf('crm-2', { email: 'nowhere' }),
    { delete: { externalIdentifier: 'gone' } },
    stateOf('crm-0', { firstName: 'Jane' }),
  ];
  const answers = await all(c2a.import(rows));
  t.same(outcomesOf(answers), ['1 created', '2 created', '3 refused', '4 erased', '5 updated', 'summary']);
  t.equal(
    answers.every((answer) => !('row' in answer) || answer.row === rows[answer.line - 1]),
    true,
  );
  t.match(answers[2], { status: { messageCode: 'INVALID_REQUEST', errors: [{ field: 'customer.email' }] } });
  t.match(answers[4], { changedFields: ['firstName'], customerUrn: 'cu.00.2', version: 2 });
  t.match(answers[5], { created: 2, updated: 1, erased: 1, refused: 1 });
  t.same(outcomesOf(await all(c2a.import([]))), ['summary']);

  // An export goes into another tenant, and comes out equal.
  const other = clientOf(await service.addTenant('globex'));
  t.match((await all(other.import(c2a.export()))).at(-1), { created: 2, refused: 0 });
  const exported = await all(other.export());
  t.same(
    exported.map(({ externalIdentifier, firstName }) => [externalIdentifier, firstName]),
    [
      ['crm-0', 'Jane'],
      ['crm-1', undefined],
    ],
  );
  t.same((await all(c2a.export({ includeAnonymized: true }))).length, 3);
});

t.test('an import takes no more rows than it can keep', async (t) => {
  const { c2a } = await start(t);
  let taken = 0;
  function* rows() {
    for (; taken < 200_000; taken += 1) yield stateOf(`crm-${taken}`);
  }
  const answers = c2a.import(rows());
  let ahead = 0;
  for (let read = 0; read < 100; read += 1) {
    await answers.next();
    await delay(5);
    ahead = Math.max(ahead, taken - read);
  }
  t.ok(ahead <= 20_000, `${ahead} rows ahead of a slow reader`);
  await answers.return();
  const stopped = taken;
  await delay(100);
  t.equal(taken, stopped, 'no row is taken after the end');
});

t.test('an import goes on after a failure, and answers each row once', async (t) => {
  const { c2a, next, seen } = await start(t);
  next.push(
    { refuse: 'TOO_MANY_REQUESTS', retryAfterSeconds: 0 },
    { drop: 'request' },
    { drop: 'response', afterBytes: 2_000 },
    { drop: 'response', afterBytes: 30_000 },
    { refuse: 'SERVICE_UNAVAILABLE', retryAfterSeconds: 0 },
    { drop: 'response' },
    { drop: 'response', afterBytes: 5_001 },
  );
  // Rows that wait for a later one are answered last: the values of crm-0 and crm-999 are exchanged.
  await c2a.import([stateOf('crm-0', { email: 'a@x.de' }), stateOf('crm-999', { email: 'b@x.de' })]).next();
  const rows = rowsOf(1_000, (index) => ({
    ...(index === 0 && { email: 'b@x.de' }),
    ...(index === 999 && { email: 'a@x.de' }),
  }));
  async function* slowly() {
    for (const [index, row] of rows.entries()) {
      if (index % 100 === 0) await delay(5);
      yield row;
    }
  }
  const answers = await all(c2a.import(slowly()));
  const summary = answers.pop();
  const lines = answers.map((answer) => ('line' in answer ? answer.line : 0));
  t.same(
    lines.toSorted((one, other) => one - other),
    Array.from({ length: 1_000 }, (_, index) => index + 1),
  );
  t.ok(answers.every((answer) => 'row' in answer && answer.row === rows[answer.line - 1]));
  t.match(summary, { outcome: 'summary', refused: 0 });
  t.ok(seen.filter(({ operation }) => operation === 'import').length >= 5);
  t.equal((await all(c2a.export())).length, 1_000);
  t.match(await c2a.info({ exId: 'crm-0' }), { result: { email: 'b@x.de' } });
});

t.test('a connection that breaks while the rows pause is no failure', async (t) => {
  const { c2a, next } = await start(t, { retryForMs: 200 });
  const answer = { line: 2, outcome: 'created', customerUrn: 'cu.00.1', version: 1 };
  next.push(
    { drop: 'response', afterBytes: JSON.stringify(answer).length + 1 },
    { refuse: 'SERVICE_UNAVAILABLE', retryAfterSeconds: 0 },
  );
  async function* rows() {
    yield stateOf('a');
    await delay(500);
    yield stateOf('b');
  }
  t.same(outcomesOf(await all(c2a.import(rows()))), ['1 created', '2 created', 'summary']);
  t.equal(next.length, 0);
});

t.test('complete rows are sent again from the beginning, and reported once', async (t) => {
  const { c2a, next } = await start(t);
  await all(c2a.import(rowsOf(300)));
  let read = 0;
  let closed = 0;
  function* rows() {
    read += 1;
    try {
      yield* rowsOf(200, (index) => (index === 7 ? { firstName: 'Jane' } : {}));
      yield stateOf('new');
    } finally {
      closed += 1;
    }
  }
  const check = { complete: true, dryRun: true } as const;
  next.push({ drop: 'request' }, { drop: 'response', afterBytes: 3_000 }, { drop: 'response', afterBytes: 15_000 });
  const answers = await all(c2a.import(rows, check));
  t.equal(read, 4, 'once for each request');
  t.equal(closed, 4);
  t.same(outcomesOf(answers.filter(({ outcome }) => outcome !== 'unchanged' && outcome !== 'extra')), [
    '8 updated',
    '201 created',
    'summary',
  ]);
  const extras = answers.flatMap((answer) => (answer.outcome === 'extra' ? [answer.externalIdentifier] : []));
  t.equal(new Set(extras).size, 100);
  t.equal(extras.length, 100);
  t.match(answers.at(-1), { created: 1, updated: 1, unchanged: 199, extra: 100 });
  t.equal((await all(c2a.export())).length, 300, 'nothing was stored');
  const once = rows();
  const same = () => once;
  next.push({ drop: 'response', afterBytes: 3_000 });
  await t.rejects(all(c2a.import(same, check)), /new rows/, 'else all others would be extra');
  t.match((await all(c2a.import([], check))).at(-1), { extra: 300 });
  // @ts-expect-error the compiler says so too
  await t.rejects(all(c2a.import(rows(), check)), TypeError);
});

t.test('what the rows throw ends the import', async (t) => {
  const { c2a, seen, clientOf, service } = await start(t);
  async function* rows() {
    yield* rowsOf(10);
    throw new Error('the database of the tenant has failed');
  }
  await t.rejects(all(c2a.import(rows())), /database of the tenant/);
  t.ok(seen.length <= 2);
  await t.rejects(all(c2a.import(() => rows(), { complete: true, dryRun: true })), /database of the tenant/);
  const hasty = clientOf(service.credentials, { retryForMs: 0 });
  await t.rejects(all(hasty.import(rows())), /database of the tenant/, 'and not the broken connection');
  const notJson = [stateOf('crm-1'), { ...stateOf('crm-2'), sourceRevision: 7n as unknown as number }];
  await t.rejects(all(c2a.import(notJson)), { name: 'TypeError', message: /BigInt/ });
});

t.test('refusals of the request itself are thrown', async (t) => {
  const { c2a, clientOf, service } = await start(t, { retryForMs: 300 });
  const stranger = clientOf({ 'x-tn': 'acme', 'x-api-key': 'sk_dev_wrong' });
  const unauthorized = refusedFor({ messageCode: 'UNAUTHORIZED', httpStatus: 401 });
  const many = function* () {
    for (let index = 0; index < 50_000; index += 1) yield stateOf(`crm-${index}`);
  };
  await t.rejects(all(stranger.import(many())), unauthorized);
  await t.rejects(all(stranger.export()), unauthorized);
  await t.rejects(all(stranger.changes()), unauthorized);
  const reader = clientOf(await service.issueKey('acme', { role: 'read' }));
  await t.rejects(all(reader.import(many())), refusedFor({ messageCode: 'FORBIDDEN' }));
  t.match((await all(reader.import(rowsOf(3), { dryRun: true }))).at(-1), { created: 3 });
  await t.rejects(
    all(c2a.export({ after: 'nobody' })),
    refusedFor({ messageCode: 'INVALID_REQUEST', errors: [{ field: 'after' }] }),
  );
  await t.rejects(all(c2a.changes({ after: '?' })), RefusedError);

  // Two imports may run at once.
  const never = async function* (id: string) {
    yield stateOf(id);
    await new Promise(() => {});
  };
  const running = [c2a.import(never('x')), c2a.import(never('y'))];
  await Promise.all(running.map((one) => one.next()));
  await t.rejects(all(c2a.import(rowsOf(1))), refusedFor({ messageCode: 'TOO_MANY_REQUESTS' }), 'after its retries');
  const ended = running.map((one) => one.return());
  t.match((await all(c2a.import(rowsOf(1)))).at(-1), { created: 1 }, 'as soon as a place is free');
  await Promise.all(ended);

  const key = await service.issueKey('acme');
  const revoked = clientOf(key).import(never('z'));
  await revoked.next();
  const next = revoked.next();
  await service.revokeKey(key);
  await t.rejects(next, refusedFor({ messageCode: /FORBIDDEN|UNAUTHORIZED/ }));
});

t.test('an export goes on after the last customer that it has', async (t) => {
  const { c2a, next, seen } = await start(t);
  await all(c2a.import(rowsOf(500)));
  seen.length = 0;
  next.push(
    { drop: 'request' },
    { drop: 'response', afterBytes: 1_234 },
    { refuse: 'SQL_DATABASE_FAILURE' },
    { drop: 'response', afterBytes: 60_000 },
    { drop: 'response' },
  );
  const exported = await all(c2a.export());
  t.same(
    exported.map(({ externalIdentifier }) => externalIdentifier),
    rowsOf(500).map(({ customer }) => customer.externalIdentifier),
  );
  t.equal(seen.length, 6);
  const after = exported[99]?.customerUrn as string;
  const [first] = await all(c2a.export({ after }));
  t.equal(first?.externalIdentifier, 'crm-100');
  for await (const customer of c2a.export()) {
    t.equal(customer.externalIdentifier, 'crm-0');
    break;
  }
});

t.test('the feed is read in pages, from a cursor, and waited for', async (t) => {
  const { c2a, next } = await start(t);
  await all(c2a.import(rowsOf(25)));
  next.push({}, { drop: 'response' }, { refuse: 'SERVICE_UNAVAILABLE', retryAfterSeconds: 0 });
  const pages = await all(c2a.changes({ limit: 10 }));
  t.same(
    pages.map(({ changes }) => changes.length),
    [10, 10, 5, 0],
  );
  const [page] = pages as [(typeof pages)[0]];
  const rest = await all(c2a.changes({ after: page.next }));
  t.equal(rest[0]?.changes.length, 15);

  const [end] = await all(c2a.changes({ after: 'end' }));
  const following = c2a.changes({ after: end?.next as string, wait: 30 });
  const waiting = following.next();
  await delay(50);
  next.push({ drop: 'response' });
  await c2a.update({ customer: { externalIdentifier: 'crm-0', firstName: 'Jane' } });
  t.match(await waiting, { value: { changes: [{ type: 'customer.updated', changedFields: ['firstName'] }] } });
  await following.return();
  t.match((await c2a.sync({ customer: { externalIdentifier: 'crm-0' }, claimedRegion })).messageCode, 'SUCCESS');
});
