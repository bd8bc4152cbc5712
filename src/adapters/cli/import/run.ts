/** What the command `import` does. */
import { randomUUID } from 'node:crypto';
import { appendFileSync, closeSync, fsyncSync, openSync } from 'node:fs';
import type { ImportAnswer, ImportEnd } from '../../../application/import/answers.ts';
import type { ImportRow } from '../../../application/import/rows.ts';
import type { Tenant } from '../../../application/ports/tenant-directory.ts';
import { systemProblem } from '../../system-errors.ts';
import { CommandError, type Context, type OpenServices } from '../context.ts';
import { openTenant } from '../customers.ts';
import { table } from '../options.ts';
import { type ImportFile, openImportFile, readingOf } from './file.ts';
import { showProgress } from './progress.ts';

/** Options as commander gives them. */
type Options = Readonly<Record<string, unknown>> &
  Parameters<typeof readingOf>[1] & {
    readonly dryRun?: boolean;
    readonly complete?: boolean;
    readonly report?: string;
  };

/** Imports a file and prints the summary. */
export async function importFile(
  file: string,
  options: Options,
  { open, print }: Pick<Context, 'open' | 'print'>,
): Promise<void> {
  const reading = readingOf(file, options);
  const { tenant, services } = await openTenant(open, options);
  const input = await openImportFile(file, reading);
  const flags = { dryRun: options.dryRun === true, complete: options.complete === true };
  try {
    const report = options.report === undefined ? undefined : new Report(options.report, flags.dryRun);
    const run = new ImportCommand(services.imports, tenant, input, report);
    const summary = { file, tenant: tenant.id, dryRun: flags.dryRun, ...(await run.run(flags)) };
    print(summary, textOf(summary), summary.refused > 0 || summary.stopped !== undefined ? 1 : 0);
  } finally {
    // Open standard input would keep the process alive.
    input.close();
  }
}

/** Change events name it as the actor, in place of the id of an API key. */
const keyId = 'c2a import';

const signals = ['SIGINT', 'SIGTERM'] as const;

type Summary = Awaited<ReturnType<ImportCommand['run']>>;

/** One run of the command. */
class ImportCommand {
  readonly #imports: OpenServices['imports'];
  readonly #tenant: Tenant;
  readonly #input: ImportFile;
  readonly #report: Report | undefined;
  readonly #codes: Record<string, number> = {};
  #rows = 0;
  #refused = 0;
  /** Why the import ends before the file. */
  #stopped: string | undefined;

  constructor(imports: OpenServices['imports'], tenant: Tenant, input: ImportFile, report: Report | undefined) {
    this.#imports = imports;
    this.#tenant = tenant;
    this.#input = input;
    this.#report = report;
  }

  /** Imports the file. After SIGINT, SIGTERM or a fault of the file, returns what was done until then. */
  async run({ dryRun, complete }: { readonly dryRun: boolean; readonly complete: boolean }) {
    const accepted = this.#imports.accept(
      { tenant: this.#tenant, keyId },
      { dryRun: String(dryRun), complete: String(complete) },
      {
        requestId: randomUUID(),
        isAllowed: async () => true,
        onFailure: (error) => this.#stop(problemOf(error)),
      },
    );
    if ('status' in accepted) throw new CommandError(accepted.status.message);
    const interrupt = (signal: NodeJS.Signals) => this.#stop(`stopped by ${signal}`);
    for (const signal of signals) process.once(signal, interrupt);
    const { bytes, bytesRead } = this.#input;
    const progress = showProgress(() => ({ rows: this.#rows, refused: this.#refused, bytesRead: bytesRead() }), bytes);
    let end: ImportEnd | undefined;
    try {
      for await (const answers of accepted.answers(this.#rowsUntilStopped())) {
        this.#report?.add(answers);
        for (const answer of answers) end = this.#count(answer);
      }
    } finally {
      progress.stop();
      for (const signal of signals) process.off(signal, interrupt);
      accepted.release();
      this.#report?.close();
    }
    const { summary, status } = end as ImportEnd;
    return { ...summary, codes: this.#codes, status, ...(this.#stopped !== undefined && { stopped: this.#stopped }) };
  }

  async *#rowsUntilStopped(): AsyncGenerator<readonly ImportRow[]> {
    try {
      for await (const rows of this.#input.rows) {
        // The last one may be cut off.
        if (this.#stopped !== undefined) return;
        yield rows;
      }
    } catch (error) {
      this.#stop(problemOf(error as Error));
    }
  }

  /** Ends the import after the rows that are being carried out. */
  #stop(reason: string): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = reason;
    process.stderr.write(`c2a: ${reason}\n`);
    this.#imports.stop();
    this.#input.close();
  }

  /** @returns the answer, if it is the last one */
  #count(answer: ImportAnswer): ImportEnd | undefined {
    if ('summary' in answer) return answer;
    if ('line' in answer) this.#rows += 1;
    const { status } = answer as { readonly status?: ImportEnd['status'] };
    if (status === undefined) return undefined;
    this.#refused += 1;
    this.#codes[status.messageCode] = (this.#codes[status.messageCode] ?? 0) + 1;
    return undefined;
  }
}

const problemOf = (error: Error): string =>
  systemProblem(error) ?? (error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message);

/** A file with refused rows and extra customers. */
class Report {
  readonly #file: number;
  readonly #isReported: (answer: ImportAnswer) => boolean;

  constructor(path: string, isDryRun: boolean) {
    this.#file = openSync(path, 'wx', 0o600);
    this.#isReported = isDryRun ? isDifference : isForAttention;
  }

  add(answers: readonly ImportAnswer[]): void {
    const lines = answers.filter(this.#isReported).map((answer) => `${JSON.stringify(answer)}\n`);
    if (lines.length > 0) appendFileSync(this.#file, lines.join(''));
  }

  close(): void {
    fsyncSync(this.#file);
    closeSync(this.#file);
  }
}

/** Of a dry run: every difference. */
const isDifference = (answer: ImportAnswer): boolean => 'outcome' in answer && answer.outcome !== 'unchanged';
const isForAttention = (answer: ImportAnswer): boolean =>
  'outcome' in answer && (answer.outcome === 'refused' || answer.outcome === 'extra');

/** The outcomes with their numbers, and the refused rows by message code. */
function textOf(
  summary: Summary & { readonly file: string; readonly tenant: string; readonly dryRun: boolean },
): string {
  const { file, tenant, dryRun, codes, status, stopped, ...counts } = summary;
  const rows = Object.entries(counts).flatMap(([outcome, count]) => [
    [outcome, String(count)],
    ...(outcome === 'refused' ? Object.entries(codes).map(([code, refused]) => [`  ${code}`, String(refused)]) : []),
  ]);
  const what = dryRun ? 'dry run, nothing was stored' : `imported into ${tenant}`;
  const end = stopped === undefined ? '' : `\nnot complete: ${stopped}; import the file again for the rest`;
  return `${file === '-' ? 'standard input' : file}: ${what}\n${table(rows)}${end}`;
}
