/** The Postman collection, run by newman against a server as a user starts it: twice, on the same data. */
import { resolve } from 'node:path';
import newman from 'newman';
import t from 'tap';
import { serving } from '../support/process.ts';

const collection = resolve(import.meta.dirname, '../../postman/c2a-customers.postman_collection.json');

function run(url: string, { 'x-tn': tenant, 'x-api-key': apiKey }: Record<string, string>) {
  const given = Object.entries({ baseUrl: url, tenant, apiKey }).map(([key, value]) => ({
    key,
    value: value as string,
  }));
  return new Promise<newman.NewmanRunSummary>((done, fail) => {
    newman.run({ collection, envVar: given }, (error, summary) => (error ? fail(error) : done(summary)));
  });
}

t.test('every request of the collection gets what it says', async (t) => {
  const server = await serving(['--storage', 'memory', '--json']);
  t.teardown(() => server.stop());
  const { url, credentials } = JSON.parse(server.greeting);
  for (const round of ['new', 'used']) {
    const { stats, failures } = (await run(url, credentials)).run;
    t.same(
      failures.map(({ source, error }) => `${source?.name}: ${error.message}`),
      [],
      `on a ${round} server`,
    );
    t.equal(stats.requests.total, 123);
    t.equal(stats.assertions.total, 552);
  }
});
