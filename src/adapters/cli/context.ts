import type { ApiKeys } from '../../application/api-keys.ts';
import type { EventAudit } from '../../application/audit/event-audit.ts';
import type { Customers } from '../../application/customers.ts';
import type { CustomerExport } from '../../application/export.ts';
import type { Imports } from '../../application/import/imports.ts';
import type { LookUp } from '../../application/look-up.ts';
import type { Maintenance, Restored, TransferProgress, TransferSide } from '../../application/ports/maintenance.ts';
import type { PrivacyReports } from '../../application/privacy-reports.ts';
import type { Tenants } from '../../application/tenants.ts';
import type { Webhooks } from '../../application/webhooks.ts';

/** The command failed for a reason that the operator can fix. Exit code 1. */
export class CommandError extends Error {}
/** The command line is wrong. Exit code 2. */
export class UsageError extends CommandError {}

/** Options parsed by commander; names are in camel case. */
type Options = Readonly<Record<string, unknown>>;

/** The use cases that commands call. */
export interface OpenServices {
  readonly tenants: Tenants;
  readonly apiKeys: ApiKeys;
  readonly customers: Pick<Customers, 'info'>;
  readonly lookUp: LookUp;
  readonly imports: Pick<Imports, 'accept' | 'stop'>;
  readonly webhooks: Webhooks;
  readonly erasures: PrivacyReports;
  readonly eventAudit: EventAudit;
  readonly customerExport: CustomerExport;
  readonly maintenance: Maintenance;
  /** The changes that recovery made when the storage was opened. Later commands and starts do not report them again. */
  readonly recovered: readonly string[];
  close(): Promise<void>;
}

/** Versions of the program and its parts. */
export interface About {
  readonly version: string;
  readonly commit: string;
  readonly runtime: string;
  readonly sqlite: string;
  /** The latest migration of each part. */
  readonly schema: { readonly data: number; readonly keys: number };
}

/** The program's operations with the settings in `options`. */
export interface Deployment {
  /** Opens the storage. @param mayCreate whether a missing storage is created; otherwise it is an error */
  open(options: Options, mayCreate?: boolean): Promise<OpenServices>;
  /** Replaces the records, or the keys, with a backup. @param force even if some records cannot be decrypted */
  restore(options: Options, part: 'data' | 'keys', file: string, force: boolean): Promise<Restored>;
  /** Copies a deployment to another database. @returns the number of rows of each table */
  transfer(
    options: Options,
    from: TransferSide,
    to: TransferSide,
    onProgress: (progress: TransferProgress) => void,
  ): Promise<Readonly<Record<string, number>>>;
  /** The SQL that distributes the tables over a Citus cluster. @param isForKeys for the separate database of the keys */
  citusStatements(options: Options, isForKeys: boolean): Promise<readonly string[]>;
  about(): Promise<About>;
}

/** The dependencies of a command. A command may open the storage once; it is closed after the command. */
export interface Context extends Deployment {
  /** Prints the result: `value` as JSON with `--json`, else `text`. Call it at most once. @param exitCode default 0 */
  print(value: unknown, text: string, exitCode?: number): void;
}
