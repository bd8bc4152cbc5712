import t from 'tap';
import manifest from '../package.json' with { type: 'json' };
import { ConfigError, readConfig } from '../src/config.ts';
import { version } from '../src/version.ts';

t.test('defaults suit local work', async (t) => {
  t.match(readConfig({}, {}), {
    host: '127.0.0.1',
    port: 3000,
    storage: 'sqlite',
    dataDir: './data',
    environment: 'sandbox',
    partition: '00',
    logLevel: 'info',
  });
});

t.test('an option wins over a variable, and an empty variable counts as unset', async (t) => {
  const config = readConfig({ port: '8080' }, { C2A_PORT: '9090', C2A_HOST: '', C2A_PARTITION: '07' });
  t.match(config, { port: 8080, host: '127.0.0.1', partition: '07' });
});

t.test('the configuration cannot be changed', async (t) => {
  t.ok(Object.isFrozen(readConfig({}, {})));
});

t.test('every mistake is named', async (t) => {
  for (const port of ['-1', '65536', '80.5', 'http']) {
    t.throws(() => readConfig({}, { C2A_PORT: port }), ConfigError, port);
  }
  try {
    readConfig({ storage: 'tape' }, { C2A_PORT: 'x' });
    t.fail('must not be accepted');
  } catch (error) {
    t.same((error as ConfigError).problems, [
      'C2A_PORT (--port) must be 0 to 65535; 0 takes a free one',
      'C2A_STORAGE (--storage) must be sqlite, memory',
    ]);
  }
});

t.test('the program tells the version of its package', async (t) => {
  t.equal(version, manifest.version);
});
