/** Background jobs: which there are, and how they are run. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { createMetrics } from '../../src/adapters/telemetry/metrics.ts';
import { backgroundJobs, type Job, startJobs } from '../../src/process/jobs.ts';

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
type Controlled = ReturnType<typeof controlled>;

/** Runs jobs over real metrics, and keeps what is logged. */
function started(jobs: readonly Job[]) {
  const metrics = createMetrics();
  const logged: object[] = [];
  const logger = { warn: (context: object, message: string) => logged.push({ ...context, message }) };
  const counted = async () => ((await metrics.render()).match(/^c2a_job_runs_total\{.*$/gm) ?? []).sort();
  return { stop: startJobs(jobs, { telemetry: metrics, logger }), logged, counted };
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
    repository: {
      deleteExpired: (now) => call(`deleteExpired ${now}`)(),
      async recoverErasures() {
        calls.push('recoverErasures');
        return { erasedAgain: 0, findings: [{ kind: 'broken_seal', tenant: 'acme', sequence: 3 }] };
      },
    },
    clearCache: () => calls.push('clearCache'),
    clock: () => 17,
    warn: (message) => warnings.push(message),
  });
  for (const { run } of jobs) await run();
  t.same(
    jobs.map(({ name, atShutdown }, index) => [name, atShutdown, calls[index]]),
    [
      ['record_api_key_use', 'run', 'recordUse'],
      ['recover_erasures', 'finish', 'recoverErasures'],
      ['delete_expired', 'finish', 'deleteExpired 17'],
      ['clear_record_cache', 'finish', 'clearCache'],
      ['refresh_issuer_keys', 'abandon', 'prepareTokens'],
    ],
  );
  t.same(warnings, ['tenant acme: entry 3 of the erasure log is damaged'], 'what a recovery found is told');
});
