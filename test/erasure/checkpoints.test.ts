/** Checkpoints and their audit in a deployment that is used: several processes, many events, and writes meanwhile. */
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import type { CheckpointWitness } from '../../src/application/audit/event-audit.ts';
import { atOnce, overwrite } from '../support/storage.ts';
import { acme, inWords, places } from './support/audited.ts';

for (const [name, make] of Object.entries(places)) {
  t.test(`${name}: nothing is found while others write`, async (t) => {
    const place = await make(t);
    const [writing, watching] = [await place.open(t), await place.open(t)];
    const { side, repository } = writing;
    let isOver = false;
    async function write(writer: number): Promise<void> {
      for (let round = 0; !isOver; round += 1) {
        const [one, other] = [
          await side.mustStore(`crm-${writer}-${round}`),
          await side.mustStore(`crm-${writer}-${round}-b`),
        ];
        await side.update(one.by, overwrite({ lastName: 'Doe' }));
        await side.update(other.by, overwrite({ lastName: 'Doe' }));
        if (round % 2 === 0) await side.merge(one.by, other.by);
        else await side.erase(one.by);
        await setTimeout(2);
      }
    }
    async function tend(): Promise<void> {
      while (!isOver) {
        await repository.recoverErasures(acme);
        await writing.make();
        await setTimeout(20);
      }
    }
    const busy = [write(1), write(2), write(3), tend()];
    let newest: readonly CheckpointWitness[] = [];
    for (let audits = 0; audits < 8; audits += 1) {
      await watching.make();
      const report = await watching.verify(newest);
      t.same([...inWords(report.findings), ...(await watching.verifyLog())], [], `${report.events} events`);
      newest = report.newest === undefined ? [] : [report.newest];
      await setTimeout(20);
    }
    isOver = true;
    await Promise.all(busy);
    await writing.make();
    t.match(await watching.verify(newest), { uncovered: 0, findings: [] });
  });
}

t.test('a tenant without events has no checkpoint and no finding', async (t) => {
  const { make, verify } = await (await (places.SQLite as (typeof places)[string])(t)).open(t);
  t.equal(await make(), 'done');
  t.same(await verify(), { events: 0, uncovered: 0, findings: [] });
});

t.test('a checkpoint covers at most 1,000 events, and a run as many as there are', async (t) => {
  const opened = await (await (places.SQLite as (typeof places)[string])(t)).open(t);
  await atOnce(2_500, (index) => opened.side.store(`crm-${index}`));
  t.equal(await opened.make(), 'done');
  const made = await opened.checkpoints.list(acme, 0, 10);
  t.same(
    made.map(({ sequence, through }) => [sequence, through]),
    [
      [1, 1_000],
      [2, 2_000],
      [3, 2_500],
    ],
  );
  t.match(await opened.verify(), { events: 2_500, uncovered: 0, findings: [] });
  t.equal(await opened.make(), 'done');
  t.equal((await opened.checkpoints.list(acme, 3, 10)).length, 0, 'no new events, no checkpoint');
});

t.test('processes that make checkpoints at once make one list', async (t) => {
  for (const name of ['SQLite', 'PostgreSQL, one database']) {
    const place = await (places[name] as (typeof places)[string])(t);
    const processes = [await place.open(t), await place.open(t), await place.open(t)] as const;
    await atOnce(40, (index) => processes[0].side.store(`crm-${index}`));
    await Promise.all(processes.map(({ make }) => make()));
    t.match(await processes[0].verify(), { events: 40, uncovered: 0, findings: [], newest: { sequence: 1 } }, name);
  }
});

t.test('more differences than are named are told', async (t) => {
  const place = await (places.SQLite as (typeof places)[string])(t);
  const opened = await place.open(t);
  await atOnce(10_500, (index) => opened.side.store(`crm-${index}`));
  await opened.make();
  await place.raw('update changes set at = at + 1');
  const { findings } = await opened.verify();
  t.match(findings.at(0), { kind: 'event_changed', position: 1 });
  t.match(findings.at(-1), { kind: 'more_events_differ' });
  t.ok(findings.length <= 10_001, `${findings.length}`);
});
