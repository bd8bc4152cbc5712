import cluster from 'node:cluster';
import { lookup } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { type Command, settingOptions } from '../adapters/cli/run.ts';
import { logSink, type StandardStream } from '../adapters/telemetry/log-sink.ts';
import { embeddedText, isBinary } from '../binary/embedded.ts';
import type { Services } from '../compose.ts';
import { type Config, ConfigError, checkSurroundings, readConfig, settings, withoutSecrets } from '../config.ts';
import { composition } from './composition.ts';
import { createDemoTenant, demoCurls } from './demo.ts';
import type { Greeting } from './workers.ts';

export const serve: Command = {
  name: 'serve',
  usage: '',
  about: 'Serve the API until SIGTERM or SIGINT.',
  options: {
    ...settingOptions(Object.keys(settings.properties) as (keyof typeof settings.properties)[]),
    'check-config': { type: 'boolean', about: 'only say whether the configuration is in order' },
  },

  async run({ options, print }) {
    // Heard from the beginning: a signal during start must not kill what is half open.
    const stopped = stopSignal();
    const config = readConfig(options);
    const problems = await checkSurroundings(config);
    if (problems.length > 0) throw new ConfigError(problems);
    if (options['check-config']) {
      print(withoutSecrets(config), 'the configuration is in order');
      return;
    }
    const log = await openLog(config, options.json ? process.stderr : process.stdout);
    const { logger } = log;
    if (config.workers > 1 && cluster.isPrimary) {
      const { superviseWorkers } = await import('./workers.ts');
      const onReady = ({ value, text }: Greeting) => print(value, text);
      const inOrder = await superviseWorkers({ count: config.workers, logger, stopped, onReady });
      await log.end();
      process.exit(inOrder ? 0 : 1);
    }
    const onTrouble = (message: string, error: unknown) => logger.warn({ err: error }, message);
    const { openServer, openServices } = await composition(config, true);
    const services = await openServices(config, { mayCreate: true, onTrouble });
    log.onLost = services.telemetry.logLost;
    const packed = isBinary ? () => embeddedText('documents') : undefined;
    const app = await openServer(services, config, logger, packed);
    try {
      await Promise.race([services.tenants.prepareTokens(), delay(tokenWaitMs, undefined, { ref: false })]);
      // By a name, Fastify would open servers for its other addresses, which know nothing of our limits.
      const { address: host } = await lookup(config.host, { order: 'ipv4first' });
      const url = await app.listen({ host, port: config.port });
      const first = await firstStart(services, config);
      const said: Greeting = { value: { url, ...first }, text: greeting(url, config, first) };
      if (cluster.isWorker) process.send?.({ greeting: said });
      else print(said.value, said.text);
      await stopped;
      logger.info('told to stop: what is under way is finished');
    } finally {
      await close(app, log, config.shutdownTimeoutMs);
    }
    // Nothing is left to do, and whoever does not read what was printed must not keep it.
    process.exit(0);
  },
};

/** How long the start waits for the hosts of bearer tokens' keys. */
const tokenWaitMs = 500;
/** How long the end waits for whoever reads the log. */
const logWaitMs = 500;

interface Log {
  readonly logger: Logger;
  /** Hears of lines that could not be written. */
  onLost: (lines: number) => void;
  end(): Promise<void>;
}

/** JSON lines, or lines for people where somebody is watching. */
async function openLog({ logLevel }: Config, stream: StandardStream): Promise<Log> {
  const { default: pino } = await import('pino');
  const options = {
    level: logLevel,
    base: cluster.isWorker ? { worker: cluster.worker?.id } : null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (stream.isTTY) {
    const { default: pretty } = await import('pino-pretty');
    const logger = pino(options, pretty({ destination: stream.fd, sync: true }));
    return { logger, onLost: () => {}, end: async () => {} };
  }
  const sink = logSink(stream, (lines) => log.onLost(lines));
  const log: Log = { logger: pino(options, sink), onLost: () => {}, end: () => sink.end(logWaitMs) };
  return log;
}

type FirstStart =
  | { readonly tenants: 'some' | 'none' }
  | { readonly credentials: Awaited<ReturnType<typeof createDemoTenant>> };

/** In the sandbox a storage without tenants gets one to try, with a key; in the live environment nothing by itself. */
async function firstStart({ tenants }: Services, { environment }: Config): Promise<FirstStart> {
  if ((await tenants.listTenants()).length > 0) return { tenants: 'some' };
  return environment === 'live' ? { tenants: 'none' } : { credentials: await createDemoTenant(tenants, 'acme') };
}

/** How the person who reads the greeting calls this program. */
const program = isBinary ? 'c2a' : 'npm run -s c2a --';

function greeting(url: string, config: Config, first: FirstStart): string {
  const { environment, storage, databaseUrl, dataDir } = config;
  const where = storage === 'memory' ? 'in memory' : databaseUrl === '' ? `in ${dataDir}` : 'in PostgreSQL';
  const lines = [`c2a-customers (${environment}) listens on ${url}, data ${where}; documentation: ${url}/docs`];
  if ('credentials' in first) {
    const { 'x-tn': tenant, 'x-api-key': key } = first.credentials;
    lines.push(
      '',
      `First start: made the tenant "${tenant}" with an API key that is shown only now:`,
      '',
      `  ${key}`,
      '',
      'Store, look up and forget a customer:',
      '',
      ...demoCurls(url, first.credentials),
      '',
    );
  } else if (first.tenants === 'none' && storage === 'memory') {
    lines.push('There is no tenant, and there can be none: memory cannot be reached by the command line.');
  } else if (first.tenants === 'none') {
    const at = [`--environment ${environment}`, ...(databaseUrl === '' ? [`--data-dir ${dataDir}`] : [])].join(' ');
    lines.push(
      'There is no tenant yet. Make one and give it a key:',
      `  ${program} tenant add <tenant> ${at}`,
      `  ${program} key issue <tenant> ${at}`,
    );
  }
  return lines.join('\n');
}

/**
 * Further signals change nothing: npm passes on what the terminal has sent to its whole group already, and the second
 * must not cut off what the first lets end.
 */
const stopSignal = (): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
  });

/** Takes no more, finishes what it has, closes the storage; whoever does not end in time is cut off. */
async function close(app: FastifyInstance, { logger, end }: Log, timeoutMs: number): Promise<void> {
  const overdue = setTimeout(async () => {
    logger.fatal('requests did not end in time');
    await end();
    process.exit(1);
  }, timeoutMs);
  try {
    await app.close();
  } finally {
    clearTimeout(overdue);
    await end();
  }
}
