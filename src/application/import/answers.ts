import type { Conflict, CustomerUrn } from '../../domain/identity.ts';
import { type Refusal, type RefusalStatus, refusal, type Success } from '../outcome.ts';
import type { WriteResult } from '../ports/customer-repository.ts';
import { type Synced, toSynced } from '../synchronization.ts';
import type { ImportRequest } from './requests.ts';

/** What became of a row. `erased`: the customer is anonymized. */
export type RowOutcome = 'created' | 'updated' | 'unchanged' | 'stale' | 'erased' | 'refused';

/** The answer to one row. */
export interface RowAnswer {
  readonly line: number;
  readonly outcome: RowOutcome;
  /** Absent if no customer has the name of the row, or if a dry run would create it. */
  readonly customerUrn?: CustomerUrn;
  readonly version?: number;
  /** With `updated`. */
  readonly changedFields?: readonly string[];
  /** With `refused`: all violations, or all conflicts. */
  readonly status?: RefusalStatus;
}

/** A customer that a complete file does not name. */
export interface ExtraAnswer {
  readonly outcome: 'extra';
  readonly customerUrn: CustomerUrn;
  readonly externalIdentifier: string;
}

/**
 * The end of an import: the number of rows with each outcome, and whether all rows were read. `extra` is absent if the file
 * was not said to be complete, or if a row does not tell its customer.
 */
export interface ImportEnd {
  readonly summary: Readonly<Record<RowOutcome, number>> & { readonly extra?: number };
  readonly status: Success | RefusalStatus;
}

export type ImportAnswer = RowAnswer | ExtraAnswer | ImportEnd;

export const refusedRow = ({ line }: { readonly line: number }, { status }: Refusal): RowAnswer => ({
  line,
  outcome: 'refused',
  status,
});

/** The answer to a row that was tried. */
export function answerTo(request: ImportRequest, result: WriteResult): RowAnswer {
  const { line } = request;
  if (request.kind === 'delete') return answerToDelete(line, 'externalId' in request.by, result);
  const synced: Synced | Refusal = toSynced(result);
  if (!('outcome' in synced)) return refusedRow(request, synced);
  const { outcome, changedFields } = synced;
  const version = synced.version;
  return {
    line,
    outcome,
    ...(synced.result && { customerUrn: synced.result.customerUrn }),
    ...(version !== undefined && { version }),
    ...(changedFields && { changedFields }),
  };
}

function answerToDelete(line: number, isByExternalId: boolean, result: WriteResult): RowAnswer {
  if (result.code === 'SUCCESS') {
    const { customer, version } = result.stored;
    return {
      line,
      outcome: result.outcome === 'unchanged' ? 'unchanged' : 'erased',
      customerUrn: customer.customerUrn,
      version,
    };
  }
  if (result.code === 'STALE_REVISION') return { line, outcome: 'stale' };
  // Erased before, or never stored: a repeated import must not report it.
  if (result.code === 'CUSTOMER_NOT_FOUND' && isByExternalId) return { line, outcome: 'unchanged' };
  return refusedRow({ line }, refusal(result.code as 'CUSTOMER_NOT_FOUND'));
}

/** The answers to rows that are not sent yet, and the number of all. */
export class AnswerBuffer {
  readonly counts: Record<RowOutcome, number> = {
    created: 0,
    updated: 0,
    unchanged: 0,
    stale: 0,
    erased: 0,
    refused: 0,
  };
  #answers: RowAnswer[] = [];

  add(answer: RowAnswer): void {
    this.counts[answer.outcome] += 1;
    this.#answers.push(answer);
  }

  /** Takes out what was added since the last call, in the order of the rows. */
  take(): readonly RowAnswer[] {
    const answers = this.#answers.sort((one, other) => one.line - other.line);
    this.#answers = [];
    return answers;
  }
}

/** An answer of a dry run, without the CustomerUrns that it made up. */
export function withoutMadeUp(answer: RowAnswer, isMadeUp: (urn: CustomerUrn) => boolean): RowAnswer {
  const { customerUrn, version: _, ...others } = answer;
  if (customerUrn !== undefined && isMadeUp(customerUrn)) return others;
  const { status } = answer;
  if (status?.conflicts === undefined) return answer;
  const conflicts = status.conflicts.map((conflict): Partial<Conflict> => {
    const { customerUrn: holder, ...rest } = conflict;
    return isMadeUp(holder) ? rest : conflict;
  });
  return { ...answer, status: { ...status, conflicts: conflicts as readonly Conflict[] } };
}
