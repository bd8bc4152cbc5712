import t from 'tap';
import { openServices } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { greet } from '../../src/process/greeting.ts';

t.test('two processes that start on an empty database at once both get an API key', async (t) => {
  const config = { ...readConfig({}, {}), storage: 'memory' as const };
  const services = await openServices(config, { mayCreate: true });
  t.teardown(() => services.close());
  const greetings = await Promise.all(['http://a', 'http://b'].map((url) => greet(url, services, config)));
  const keys = greetings.map(({ text }) => /sk_dev_\w+/.exec(text)?.[0]);
  t.match(keys, [/./, /./]);
  t.not(keys[0], keys[1]);
  t.same(
    (await services.tenants.list()).map(({ id }) => id),
    ['acme'],
  );
});
