/** A client of c2a-customers. */
export type { ClientOptions } from './api.ts';
export type { ChangesOptions, ChangesPage } from './changes.ts';
export {
  type CallOptions,
  type Client,
  type CustomerName,
  createClient,
  type VersionedWriteOptions,
  type WriteOptions,
} from './client.ts';
export { ConnectionError, RefusedError } from './errors.ts';
export type { ExportOptions } from './export.ts';
export type { ImportAnswer, ImportOptions, ImportSummary } from './import.ts';
export type { ImportRow, ImportSource, RepeatableRows } from './import-rows.ts';
export type {
  ChangeEvent,
  Conflict,
  Customer,
  CustomerChange,
  CustomerDto,
  CustomerState,
  Operation,
  Outcome,
  Reference,
  Refusal,
  RefusalCode,
  RequestBody,
  SignedReceipt,
  Snapshot,
  Success,
  Violation,
} from './outcome.ts';
export type { Credential } from './transport.ts';
