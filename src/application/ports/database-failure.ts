/**
 * The storage could not complete an operation. Every port method may throw it. Nothing was stored, unless `mayBeStored` is
 * true: then the connection broke before the outcome was known. The cause is for the log only.
 */
export class DatabaseFailure extends Error {
  readonly mayBeStored: boolean;

  constructor(cause: unknown, mayBeStored = false) {
    super('database failure', { cause });
    this.name = 'DatabaseFailure';
    this.mayBeStored = mayBeStored;
  }
}

/** For a `catch`: ignores a `DatabaseFailure`, and rethrows any other error. */
export function unlessDatabaseFailure(error: unknown): undefined {
  if (!(error instanceof DatabaseFailure)) throw error;
}
