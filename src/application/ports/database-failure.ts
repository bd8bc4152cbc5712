/**
 * The storage refused or lost an operation. Every port method may throw it. Nothing of the operation was stored, unless
 * `mayBeStored` is true: the connection broke before the outcome was known. The cause is for the log only.
 */
export class DatabaseFailure extends Error {
  readonly mayBeStored: boolean;

  constructor(cause: unknown, mayBeStored = false) {
    super('database failure', { cause });
    this.name = 'DatabaseFailure';
    this.mayBeStored = mayBeStored;
  }
}
