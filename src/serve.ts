import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import pino, { type Logger } from 'pino';
import { type Command, settingOptions } from './adapters/cli/run.ts';
import { openServer, openServices, type Services } from './compose.ts';
import { type Config, readConfig, settings } from './config.ts';
import { createDemoTenant, demoCurls } from './demo.ts';

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
    if (options['check-config']) {
      print(config, 'the configuration is in order');
      return;
    }
    const logger = await openLogger(config, options.json ? process.stderr.fd : process.stdout.fd);
    const services = await openServices(config, { mayCreate: true });
    const app = await openServer(services, config, logger as FastifyBaseLogger);
    try {
      const url = await app.listen({ host: config.host, port: config.port });
      const first = await firstStart(services, config);
      print({ url, ...first }, greeting(url, config, first));
      await stopped;
    } finally {
      await close(app, logger, config.shutdownTimeoutMs);
    }
  },
};

/** JSON lines, or lines for people where somebody is watching. */
async function openLogger({ logLevel }: Config, fd: number): Promise<Logger> {
  const options = {
    level: logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const watched = fd === process.stdout.fd ? process.stdout.isTTY : process.stderr.isTTY;
  if (!watched) return pino(options, pino.destination({ dest: fd, sync: false }));
  const { default: pretty } = await import('pino-pretty');
  return pino(options, pretty({ destination: fd, sync: true }));
}

type FirstStart =
  | { readonly tenants: 'some' | 'none' }
  | { readonly credentials: Awaited<ReturnType<typeof createDemoTenant>> };

/** In the sandbox a storage without tenants gets one to try, with a key; in the live environment nothing by itself. */
async function firstStart({ tenants }: Services, { environment }: Config): Promise<FirstStart> {
  if ((await tenants.listTenants()).length > 0) return { tenants: 'some' };
  return environment === 'live' ? { tenants: 'none' } : { credentials: await createDemoTenant(tenants, 'acme') };
}

function greeting(url: string, { environment, storage, dataDir }: Config, first: FirstStart): string {
  const where = storage === 'memory' ? 'in memory' : `in ${dataDir}`;
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
  } else if (first.tenants === 'none') {
    lines.push(
      'There is no tenant yet. Make one and give it a key:',
      '  npm run -s c2a -- tenant add <tenant>',
      '  npm run -s c2a -- key issue <tenant>',
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
async function close(app: FastifyInstance, logger: Logger, timeoutMs: number): Promise<void> {
  const overdue = setTimeout(() => {
    logger.fatal('requests did not end in time');
    process.exit(1);
  }, timeoutMs);
  try {
    await app.close();
  } finally {
    clearTimeout(overdue);
    logger.flush();
  }
}
