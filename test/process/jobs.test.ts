/** Background jobs: which there are, and how they are run. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createMemoryLeases } from '../../src/adapters/memory/leases.ts';
import { createMetrics } from '../../src/adapters/telemetry/metrics.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import type { Tenant } from '../../src/application/ports/tenant-directory.ts';
import { backgroundJobs, type Job, jobLease, startJobs } from '../../src/process/jobs.ts';
import { tenantId } from '../support/storage.ts';

/** A job whose runs end when the test says so. */
function controlled(name: string, atShutdown: Job['atShutdown']) {
  const runs: PromiseWithResolvers<void>[] = [];
  return {
    runs,
    job: {
      name,
      everyMs: 1,
      atShutdown,
      run() {
        const run = Promise.withResolvers<void>();
        runs.push(run);
        return run.promise;
      },
    },
  };
}
/** Given to a run while the server does not stop. */
const goesOn = new AbortController().signal;
type Controlled = ReturnType<typeof controlled>;

/** Runs jobs over real metrics, and keeps what is logged. */
function started(jobs: readonly Job[], leases = createMemoryLeases(), clock = { now: 0 }) {
  const metrics = createMetrics();
  const logged: object[] = [];
  const logger = { warn: (context: object, message: string) => logged.push({ ...context, message }) };
  const counted = async () => ((await metrics.render()).match(/^c2a_job_runs_total\{.*$/gm) ?? []).sort();
  const lease = jobLease(leases, () => clock.now);
  return { stop: startJobs(jobs, { telemetry: metrics, logger, lease }), logged, counted };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await delay(1);
}
const runOf = ({ runs }: Controlled, index: number) => runs[index] as PromiseWithResolvers<void>;

t.test('a job runs one at a time, and again after it has ended', async (t) => {
  const slow = controlled('slow', 'abandon');
  const { stop } = started([slow.job]);
  await until(() => slow.runs.length === 1);
  await delay(20);
  t.equal(slow.runs.length, 1, 'no second run while the first is in progress');
  runOf(slow, 0).resolve();
  await until(() => slow.runs.length === 2);
  await stop();
});

t.test('a failure is counted and logged with the name of the job, which runs again', async (t) => {
  const failing = controlled('failing', 'finish');
  const healthy = controlled('healthy', 'finish');
  const { stop, logged, counted } = started([failing.job, healthy.job]);
  await until(() => failing.runs.length === 1 && healthy.runs.length === 1);
  const error = new Error('the disk is full');
  runOf(failing, 0).reject(error);
  runOf(healthy, 0).resolve();
  await until(() => failing.runs.length === 2 && healthy.runs.length === 2);
  t.same(logged, [{ job: 'failing', err: error, message: 'background job failed' }]);
  t.same(await counted(), [
    'c2a_job_runs_total{job="failing",result="failure"} 1',
    'c2a_job_runs_total{job="healthy",result="success"} 1',
  ]);
  for (const job of [failing, healthy]) runOf(job, 1).resolve();
  await stop();
});

t.test('stopping finishes, repeats or abandons a run, as the job says', async (t) => {
  const repeated = controlled('repeated', 'run');
  const finished = controlled('finished', 'finish');
  const abandoned = controlled('abandoned', 'abandon');
  const all = [repeated, finished, abandoned];
  const { stop, counted } = started(all.map(({ job }) => job));
  await until(() => all.every(({ runs }) => runs.length === 1));
  let isStopped = false;
  const stopped = stop().then(() => {
    isStopped = true;
  });

  await delay(10);
  t.notOk(isStopped, 'waits for the runs in progress');
  runOf(finished, 0).resolve();
  runOf(repeated, 0).resolve();
  await until(() => repeated.runs.length === 2);
  await delay(10);
  t.notOk(isStopped, 'waits for the last run');
  runOf(repeated, 1).resolve();
  await stopped;
  t.same(
    all.map(({ runs }) => runs.length),
    [2, 1, 1],
  );
  t.same(await counted(), [
    'c2a_job_runs_total{job="finished",result="success"} 1',
    'c2a_job_runs_total{job="repeated",result="success"} 2',
  ]);
});

t.test('each background job does what its name says', async (t) => {
  const calls: string[] = [];
  const call = (name: string) => async () => {
    calls.push(name);
  };
  const warnings: string[] = [];
  const jobs = backgroundJobs({
    authentication: { recordUse: call('recordUse'), prepareTokens: call('prepareTokens') },
    directory: { listTenants: async () => [{ id: tenantId('acme') }] as Tenant[] },
    repository: {
      deleteExpired: (tenant, now) => call(`deleteExpired ${tenant} ${now}`)(),
      async recoverErasures(tenant) {
        calls.push(`recoverErasures ${tenant}`);
        return { erasedAgain: 0, findings: [{ kind: 'broken_seal', tenant, sequence: 3 }] };
      },
      async lastChange(tenant) {
        calls.push(`lastChange ${tenant}`);
        return 3;
      },
    },
    audit: {
      async make(tenant) {
        calls.push(`make ${tenant}`);
        return 'gap';
      },
    },
    webhooks: {
      async measure() {
        calls.push('measure');
        return [];
      },
    },
    webhookDelivery: { run: call('deliver'), stop: call('stop') },
    clearCache: () => calls.push('clearCache'),
    clock: () => 17,
    warn: (message) => warnings.push(message),
  });
  for (const { run } of jobs) await run(goesOn);
  t.same(
    jobs.map(({ name, atShutdown, inOneProcess = false }, index) => [name, atShutdown, inOneProcess, calls[index]]),
    [
      ['record_api_key_use', 'run', false, 'recordUse'],
      ['recover_erasures', 'finish', true, 'recoverErasures acme'],
      ['assign_feed_positions', 'finish', true, 'lastChange acme'],
      ['delete_expired', 'finish', true, 'deleteExpired acme 17'],
      ['make_checkpoints', 'finish', true, 'make acme'],
      ['clear_record_cache', 'finish', false, 'clearCache'],
      ['deliver_webhooks', 'run', false, 'deliver'],
      ['measure_webhooks', 'finish', true, 'measure'],
      ['refresh_issuer_keys', 'abandon', false, 'prepareTokens'],
    ],
  );
  await jobs.find(({ name }) => name === 'deliver_webhooks')?.run(AbortSignal.abort());
  t.equal(calls.at(-1), 'stop', 'the run at the shutdown');
  t.same(warnings, [
    'tenant acme: entry 3 of the erasure log is damaged',
    'change events of acme are missing, and no checkpoint is made: run c2a audit verify',
  ]);
});

t.test('a repeated failure is logged once, and so is the success after it', async (t) => {
  let failure: Error | undefined = new Error('the disk is full');
  let runs = 0;
  const job: Job = {
    name: 'failing',
    everyMs: 1,
    atShutdown: 'finish',
    async run() {
      runs += 1;
      if (failure !== undefined) throw failure;
    },
  };
  const { stop, logged, counted } = started([job]);
  const afterRuns = async (count: number) => {
    const before = runs;
    await until(() => runs >= before + count);
  };
  await afterRuns(3);
  failure = new Error('the disk is damaged');
  await afterRuns(3);
  failure = undefined;
  await afterRuns(3);
  await stop();
  t.match(logged, [
    { job: 'failing', err: { message: 'the disk is full' }, message: 'background job failed' },
    { job: 'failing', err: { message: 'the disk is damaged' }, message: 'background job failed' },
    { job: 'failing', message: 'background job succeeded again' },
  ]);
  t.equal(logged.length, 3);
  t.match(await counted(), [/result="failure"\} \d/, /result="success"\} \d/]);
});

/** The job that deletes expired records of these tenants. */
function deletionOf(t: Test, names: readonly string[], deleteExpired: (tenant: string) => Promise<void>): Job {
  const jobs = backgroundJobs({
    authentication: { recordUse: async () => {}, prepareTokens: async () => {} },
    directory: { listTenants: async () => names.map((name) => ({ id: tenantId(name) })) as Tenant[] },
    repository: {
      deleteExpired,
      recoverErasures: async () => ({ erasedAgain: 0, findings: [] }),
      lastChange: async () => 0,
    },
    audit: { make: async () => 'done' },
    webhooks: { measure: async () => [] },
    webhookDelivery: { run: async () => {}, stop: async () => {} },
    clearCache: () => {},
    clock: () => 0,
    warn: (message) => t.fail(message),
  });
  return jobs.find(({ name }) => name === 'delete_expired') as Job;
}

t.test('a job goes on without the tenants for which the database fails, and names them', async (t) => {
  const done: string[] = [];
  const away = new Set(['acme', 'umbrella']);
  const job = deletionOf(t, ['acme', 'globex', 'umbrella'], async (tenant) => {
    if (away.has(tenant)) throw new DatabaseFailure(new Error('could not connect'));
    done.push(tenant);
  });
  await t.rejects(job.run(goesOn), { message: /failed for these tenants; the next run retries them: acme, umbrella$/ });
  t.same(done, ['globex']);
  away.clear();
  await job.run(goesOn);
  t.same(done.sort(), ['acme', 'globex', 'globex', 'umbrella']);
});

t.test('a process whose run failed gives up the lease', async (t) => {
  const leases = createMemoryLeases();
  const runs = { broken: 0, healthy: 0 };
  const job = (run: () => Promise<void>): Job => ({
    name: 'shared',
    everyMs: 1,
    atShutdown: 'finish',
    inOneProcess: true,
    run,
  });
  const broken = started(
    [
      job(async () => {
        runs.broken += 1;
        throw new DatabaseFailure(new Error('could not connect'));
      }),
    ],
    leases,
  );
  await until(() => runs.broken > 0);
  const healthy = started(
    [
      job(async () => {
        runs.healthy += 1;
      }),
    ],
    leases,
  );
  await until(() => runs.healthy > 0);
  const failed = runs.broken;
  await until(() => runs.healthy > 10);
  t.equal(runs.broken, failed, 'the process that succeeds keeps the lease');
  await Promise.all([broken.stop(), healthy.stop()]);
});

t.test('a job that takes long rests long', async (t) => {
  let runs = 0;
  const job: Job = {
    name: 'slow',
    everyMs: 1,
    atShutdown: 'finish',
    async run() {
      runs += 1;
      await delay(20);
    },
  };
  const { stop } = started([job]);
  await delay(350);
  t.equal(runs, 1);
  await until(() => runs === 2);
  await stop();
});

t.test('when the server stops, a job begins no further tenant', async (t) => {
  const begun: string[] = [];
  const waiting = Promise.withResolvers<void>();
  const names = Array.from({ length: 100 }, (_, index) => `tenant-${index}`);
  const job = deletionOf(t, names, async (tenant) => {
    begun.push(tenant);
    await waiting.promise;
  });
  const stopping = new AbortController();
  const running = job.run(stopping.signal);
  await until(() => begun.length > 0);
  stopping.abort();
  waiting.resolve();
  await running;
  t.ok(begun.length < 10, `${begun.length} were begun`);
});

t.test('a job that runs in one process is taken over when its process stops or its lease expires', async (t) => {
  const leases = createMemoryLeases();
  const clock = { now: 0 };
  const processes = [0, 1, 2].map(() => {
    const counts = { shared: 0, each: 0 };
    const run = (kind: keyof typeof counts) => async () => {
      counts[kind] += 1;
    };
    const jobs: Job[] = [
      { name: 'shared', everyMs: 1, atShutdown: 'finish', inOneProcess: true, run: run('shared') },
      { name: 'each', everyMs: 1, atShutdown: 'finish', run: run('each') },
    ];
    return { counts, ...started(jobs, leases, clock) };
  });
  /** The processes that run the shared job, after a while in which all have run the other one. */
  async function running(among = processes) {
    for (const { counts } of among) Object.assign(counts, { shared: 0, each: 0 });
    const isOver = () => among.every(({ counts }) => counts.each > 5) && among.some(({ counts }) => counts.shared > 0);
    await until(isOver);
    return among.filter(({ counts }) => counts.shared > 0);
  }
  const [first, ...none] = await running();
  t.same([first !== undefined, none.length], [true, 0], 'one of three');
  t.same(await running(), [first], 'it stays with its process');
  t.equal((await first?.counted())?.length, 2);

  await first?.stop();
  const left = processes.filter((process) => process !== first);
  const [second, ...others] = await running(left);
  t.same([second !== undefined, others.length], [true, 0], 'another takes over as soon as the first has stopped');

  clock.now += 29_000;
  t.same(await running(left), [second]);
  clock.now += 59_000;
  t.equal((await running(left)).length, 1, 'after the lease has expired, it is again with one');
  for (const { stop } of left) await stop();
});
