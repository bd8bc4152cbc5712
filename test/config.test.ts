/** The configuration: defaults, precedence, and what is refused. */
import t from 'tap';
import manifest from '../package.json' with { type: 'json' };
import { ConfigError, readConfig, withoutSecrets } from '../src/config.ts';
import { version } from '../src/process/about.ts';

t.test('the defaults suit local development', async (t) => {
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

t.test('every mistake is reported, with its variable and the allowed values', async (t) => {
  for (const port of ['-1', '65536', '80.5', 'http']) {
    t.throws(() => readConfig({}, { C2A_PORT: port }), ConfigError, port);
  }
  const problems = [
    'C2A_PORT (--port) must be 0 to 65535 (0: any free port)',
    'C2A_STORAGE (--storage) must be one of sqlite, memory',
  ];
  t.throws(() => readConfig({ storage: 'tape' }, { C2A_PORT: 'x' }), { name: 'ConfigError', problems });
});

t.test('a value that could be mistaken for another is refused', async (t) => {
  const wrong: Record<string, readonly string[]> = {
    C2A_PORT: ['true', 'false', '0x10', '1e3', ' 80'],
    C2A_HOST: ['999.1.1.1', 'not a host', '-x'],
    C2A_TRUST_PROXY: ['abc', ':::', '10.0.0.0/99', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.1,'],
    C2A_WEBHOOK_NETWORKS: ['loopback', 'abc', '10.0.0.0/33', 'fd00::/129', '10.0.0.1,', 'off,10.0.0.1'],
    C2A_DATABASE_URL: ['mysql://x/y', 'postgres', 'postgres://a b/c'],
    C2A_PROT: ['80'],
  };
  for (const [variable, texts] of Object.entries(wrong)) {
    for (const text of texts)
      t.throws(() => readConfig({}, { [variable]: text }), { message: new RegExp(variable) }, text);
  }
  const both = { C2A_STORAGE: 'memory', C2A_DATABASE_URL: 'postgres://h/d' };
  t.throws(() => readConfig({}, both), { message: /C2A_DATABASE_URL/ }, 'the data would be lost at exit');
  const right: Record<string, readonly string[]> = {
    C2A_HOST: ['::1', '0.0.0.0', 'localhost', 'db-1.internal'],
    C2A_TRUST_PROXY: ['off', 'loopback', '10.0.0.0/8,::1,fd00::/8,192.168.1.7'],
    C2A_WEBHOOK_NETWORKS: ['off', '10.0.0.0/8,::1,fd00::/8,192.168.1.7'],
    C2A_DATABASE_URL: ['postgres://u:p@h:5432/d', 'postgresql://h1,h2:5433/d?target_session_attrs=read-write'],
  };
  for (const [variable, texts] of Object.entries(right)) {
    for (const text of texts) t.doesNotThrow(() => readConfig({}, { [variable]: text }), text);
  }
});

t.test('a password is not shown', async (t) => {
  const config = readConfig({}, { C2A_DATABASE_URL: 'postgres://user:secret@h/d' });
  t.equal(withoutSecrets(config).databaseUrl, 'postgres://user:***@h/d');
  for (const url of [
    'postgres://user:se@cret@h/d',
    'postgres://h/d?user=u&password=secret&x=1',
    'postgres://user:secret@h/d?sslpassword=secret',
  ]) {
    t.notMatch(withoutSecrets(readConfig({}, { C2A_DATABASE_URL: url })).databaseUrl, /cret/);
  }
});

t.test('the version is that of package.json', async (t) => {
  t.equal(version, manifest.version);
});
