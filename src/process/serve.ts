import cluster from 'node:cluster';
import { lookup } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { FastifyInstance } from 'fastify';
import type { Context } from '../adapters/cli/context.ts';
import { withSettings } from '../adapters/cli/options.ts';
import { embeddedText, isBinary } from '../binary/embedded.ts';
import { type Config, ConfigError, readConfig, variables, withoutSecrets } from '../config.ts';
import { type Greeting, greet } from './greeting.ts';
import { loadCompose } from './load-compose.ts';
import { type Log, openLog } from './log.ts';
import { preflight } from './preflight.ts';

/** How long the start waits for the keys of token issuers. */
const issuerKeysTimeoutMs = 500;

export function addServeCommand(program: Command, { print }: Pick<Context, 'print'>): void {
  withSettings(program.command('serve'), variables)
    .description('Serve the API until SIGTERM or SIGINT.')
    .option('--check-config', 'only check the configuration')
    .action(async (options) => {
      // Installs the signal handlers first, so that a signal does not interrupt the start.
      const stopped = stopSignal();
      const config = readConfig(options);
      const problems = await preflight(config);
      if (problems.length > 0) throw new ConfigError(problems);
      if (options.checkConfig) {
        print(withoutSecrets(config), 'the configuration is valid');
        return;
      }
      const log = await openLog(config, options.json ? process.stderr : process.stdout);
      const announce = ({ value, text }: Greeting) => print(value, text);
      const isSupervisor = config.workers > 1 && cluster.isPrimary;
      const run = isSupervisor ? (await import('./workers.ts')).superviseWorkers : serve;
      const succeeded = await run(config, log, stopped, cluster.isWorker ? toSupervisor : announce);
      // Output that is never read must not keep the process alive.
      process.exit(succeeded ? 0 : 1);
    });
}

/**
 * Resolves at the first SIGTERM or SIGINT. Later signals are ignored: the terminal sends Ctrl-C to the whole process
 * group, and npm forwards it too, so one key press arrives as two signals.
 */
const stopSignal = (): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
  });

const toSupervisor = (greeting: Greeting): void => {
  process.send?.({ greeting });
};

/** Serves until `stopped` resolves. @returns true. If the shutdown takes too long, the process exits with code 1. */
async function serve(
  config: Config,
  log: Log,
  stopped: Promise<void>,
  announce: (greeting: Greeting) => void,
): Promise<boolean> {
  const { logger } = log;
  const onTrouble = (message: string, error?: unknown) => logger.warn({ err: error }, message);
  const { openServer, openServices } = await loadCompose(config, true);
  const services = await openServices(config, { mayCreate: true, onTrouble });
  log.onLost = services.telemetry.logLost;
  const loadDocuments = isBinary ? async () => JSON.parse(embeddedText('documents')) : undefined;
  const app = await openServer(services, config, logger, { loadDocuments });
  try {
    await Promise.race([
      services.authentication.prepareTokens(),
      delay(issuerKeysTimeoutMs, undefined, { ref: false }),
    ]);
    // Resolved to one address: for a name with several, Fastify would open further servers without our limits.
    const { address: host } = await lookup(config.host, { order: 'ipv4first' });
    const url = await app.listen({ host, port: config.port });
    announce(await greet(url, services, config));
    await stopped;
    logger.info('received a stop signal; finishing requests in flight');
  } finally {
    await close(app, log, config.shutdownTimeoutMs);
  }
  return true;
}

/** Closes the server after its requests in flight. Exits with code 1 if that takes longer than the timeout. */
async function close(app: FastifyInstance, log: Log, timeoutMs: number): Promise<void> {
  const timer = setTimeout(async () => {
    log.logger.fatal('requests did not finish in time; exiting');
    await log.end();
    process.exit(1);
  }, timeoutMs);
  try {
    await app.close();
  } finally {
    clearTimeout(timer);
    await log.end();
  }
}
