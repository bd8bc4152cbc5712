import { type Api, type ClientOptions, openApi, type Paths } from './api.ts';
import { outcomeOf } from './attempts.ts';
import { type ChangesOptions, type ChangesPage, followChanges } from './changes.ts';
import { type ExportOptions, exportCustomers } from './export.ts';
import { type ImportAnswer, type ImportOptions, importRows } from './import.ts';
import type { ImportSource, RepeatableRows } from './import-rows.ts';
import type { BodyOf, Customer, Described, Outcome, OutcomeOf, RequestBody } from './outcome.ts';

export interface CallOptions {
  /** Ends the call, also while it waits for a retry: it then throws the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
  /** The id in the log of the service and in the history of the customer. Default: the service makes one for each attempt. */
  readonly requestId?: string | undefined;
}

export interface WriteOptions extends CallOptions {
  /** Makes a repeat within 24 hours return the first success. Default: a new one for each call, the same for its attempts. */
  readonly idempotencyKey?: string | undefined;
}

export interface VersionedWriteOptions extends WriteOptions {
  /** The `etag` of an earlier answer: VERSION_MISMATCH if the record was changed since. */
  readonly ifMatch?: string | undefined;
}

/** Names a customer by its CustomerUrn or its ExternalId. */
export type CustomerName =
  | { readonly urn: string; readonly exId?: never }
  | { readonly exId: string; readonly urn?: never };

/**
 * The calls of one tenant. Each returns an outcome to `switch` on (`messageCode`), also for refusals. It throws ConnectionError
 * if no answer comes for as long as it is retried, and the reason of its `signal` if that is aborted.
 */
export interface Client {
  /** Whether an ExternalId is available or, with a customer, what `sync` would do. Stores nothing. */
  validate(body: RequestBody<'validate'>, options?: CallOptions): Promise<Outcome<'validate'>>;
  /** Stores a new customer. */
  store(body: RequestBody<'store'>, options?: WriteOptions): Promise<Outcome<'store'>>;
  /** Merges fields into a customer (RFC 7396): null removes one. */
  update(body: RequestBody<'update'>, options?: VersionedWriteOptions): Promise<Outcome<'update'>>;
  /** Erases a customer (GDPR Art. 17). */
  delete(body: RequestBody<'delete'>, options?: VersionedWriteOptions): Promise<Outcome<'delete'>>;
  /** Creates a customer or replaces its content. An absent field is removed. */
  sync(body: RequestBody<'sync'>, options?: VersionedWriteOptions): Promise<Outcome<'sync'>>;
  /** Merges the customer `from` into the customer `into`. */
  merge(body: RequestBody<'merge'>, options?: WriteOptions): Promise<Outcome<'merge'>>;
  /** The record of a customer, with its payment options. */
  info(name: CustomerName, options?: CallOptions): Promise<Outcome<'info'>>;
  /** The customer with an e-mail address or a phone number. */
  find(body: RequestBody<'find'>, options?: CallOptions): Promise<Outcome<'find'>>;
  /** What was done to a customer, and who looked at it. */
  history(name: CustomerName, options?: CallOptions): Promise<Outcome<'history'>>;
  /** All data about a customer (GDPR Art. 15 and 20). */
  subjectExport(body: RequestBody<'subjectExport'>, options?: CallOptions): Promise<Outcome<'subjectExport'>>;
  /** The signed receipt of an erasure; see `verifyErasureReceipt`. @param urn the CustomerUrn */
  erasureReceipt(urn: string, options?: CallOptions): Promise<Outcome<'erasure'>>;
  /** The public key that verifies the receipts of the deployment. */
  receiptKey(options?: CallOptions): Promise<Outcome<'receiptKey'>>;
  readonly references: {
    /** Binds to a customer what a flow has made, or sets its state. Safe to repeat. */
    bind(body: RequestBody<'bindReference'>, options?: CallOptions): Promise<Outcome<'bindReference'>>;
    /** The references of a customer. */
    list(name: CustomerName, options?: CallOptions): Promise<Outcome<'listReferences'>>;
  };
  /**
   * Sends any number of rows and yields what became of each; last a summary. It takes rows as fast as the service stores them
   * and the answers are read. If the connection breaks, the rows without an answer are sent again: one of them that was stored
   * is then answered `unchanged`. Complete rows are sent again from the beginning, for which they must be an array or a
   * function that returns them.
   *
   * @throws RefusedError if the service refuses the import itself; ConnectionError; whatever the rows throw
   */
  import(rows: RepeatableRows, options?: ImportOptions): AsyncGenerator<ImportAnswer, void>;
  import(
    rows: ImportSource,
    options?: ImportOptions & { readonly complete?: false | undefined },
  ): AsyncGenerator<ImportAnswer, void>;
  /**
   * All customers, in the order of their CustomerUrns. If the connection breaks, the export goes on after the last one.
   *
   * @throws RefusedError; ConnectionError
   */
  export(options?: ExportOptions): AsyncGenerator<Customer, void>;
  /**
   * The change events after a cursor, in pages. Without `wait` it ends after an empty page, the end of the feed for now; with
   * `wait` it goes on for ever, and yields an empty page when the time is over without an event.
   *
   * @throws RefusedError, for example CURSOR_FROM_BEFORE_A_RESTORE; ConnectionError
   */
  changes(options?: ChangesOptions): AsyncGenerator<ChangesPage, void>;
}

/** A client of one tenant. @throws TypeError if an option is no URL, or a credential is missing or not valid */
export function createClient(options: ClientOptions): Client {
  const api = openApi(options);
  const { get, post } = callsOf(api);
  const receipt = get('/erasure');
  const key = get('/.well-known/c2a-receipts', api.root);
  return {
    validate: post('/validate'),
    store: post('/store'),
    update: post('/update'),
    delete: post('/delete'),
    sync: post('/sync'),
    merge: post('/merge'),
    info: get('/info'),
    find: post('/find'),
    history: get('/history'),
    subjectExport: post('/subject-export'),
    erasureReceipt: (urn, call) => receipt({ urn }, call),
    receiptKey: (call) => key({}, call),
    references: { bind: post('/references'), list: get('/references') },
    import: (rows, call = {}) => importRows(api, rows, call),
    export: (call = {}) => exportCustomers(api, call),
    changes: (call = {}) => followChanges(api, call),
  };
}

type PathOf<Method extends 'get' | 'post'> = {
  [Path in keyof Paths]: Paths[Path] extends Record<Method, Described> ? Path : never;
}[keyof Paths];

/** Makes the functions that call an operation. The compiler compares their types with those of `Client`. */
function callsOf({ http, transport }: Api) {
  const call =
    <Op extends Described>(method: 'get' | 'post', path: keyof Paths, baseUrl?: string) =>
    (input: object, options: VersionedWriteOptions = {}): Promise<OutcomeOf<Op>> => {
      const { signal, requestId, ifMatch, idempotencyKey = crypto.randomUUID() } = options;
      const init = {
        baseUrl,
        ...(method === 'get' ? { params: { query: input } } : { body: input }),
        // Reads ignore the Idempotency-Key.
        headers: { 'x-request-id': requestId, 'if-match': ifMatch, 'idempotency-key': idempotencyKey },
        // The signal is not given to the Request, which would keep a listener on it.
        fetch: (request: Request) => transport.send(request, signal),
      };
      return outcomeOf(transport, signal, () => http.request(method, path as never, init as never));
    };
  return {
    get: <Path extends PathOf<'get'>>(path: Path, baseUrl?: string) => call<Paths[Path]['get']>('get', path, baseUrl),
    post: <Path extends PathOf<'post'>>(path: Path): Post<Paths[Path]['post']> => call('post', path),
  };
}

type Post<Op extends Described> = (body: BodyOf<Op>, options?: VersionedWriteOptions) => Promise<OutcomeOf<Op>>;
