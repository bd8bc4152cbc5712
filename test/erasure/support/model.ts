/**
 * Random operations of several processes on one deployment, with crashes, backups and restores, and what must hold after
 * each step. The specification is docs/decisions/0011-erasure-log.md.
 */
import { isDeepStrictEqual } from 'node:util';
import type { CustomerStorage } from '../../../src/adapters/sql/customer-storage.ts';
import { toNumber, toUrn } from '../../../src/adapters/sql/customers/urns.ts';
import { recoverAtStart } from '../../../src/adapters/sql/recover-at-start.ts';
import type { SqlDatabase } from '../../../src/adapters/sql/schema/database.ts';
import type {
  CustomerReference,
  IdempotencyKey,
  WriteResult,
} from '../../../src/application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../../src/application/ports/database-failure.ts';
import { isAnonymized } from '../../../src/domain/anonymization.ts';
import { actor, byExternalId, content, idempotencyKey, noon, overwrite } from '../../support/storage.ts';
import { type Backup, customersOf, type Parts, type Place, tenant } from './places.ts';
import type { Random } from './random.ts';
import { type Faults, Scheduler, stepped } from './scheduler.ts';
import type { Position, State } from './state.ts';

/** Something that must not be. */
export class Violation extends Error {}
function must(holds: boolean, message: () => string): asserts holds {
  if (!holds) throw new Violation(message());
}

/** How often each thing happened, to show that it did. */
export const newCounts = () => ({
  runs: 0,
  steps: 0,
  crashes: 0,
  restores: 0,
  acknowledged: 0,
  acknowledgedUnfinished: 0,
  retries: 0,
  reusedKeys: 0,
  mismatches: 0,
  olderKeys: 0,
  sameChainAgain: 0,
  lostWithBoth: 0,
});
export type Counts = ReturnType<typeof newCounts>;

/** What the keys have ever contained, since the backup that they come from was made, and before it. */
interface KeysHistory {
  /** The customer's number by its wrapped data key. */
  readonly made: Map<string, number>;
}
/** The same of the records: the wrapped data key of each row, and the bytes that it had before it was anonymized. */
interface RecordsHistory {
  readonly keyOf: Map<number, string>;
  readonly sealedOf: Map<number, Set<string>>;
}

interface Task {
  readonly name: string;
  readonly process: Process;
  /** The Idempotency-Key and the request, of a write that has one. */
  readonly retry?: Retry;
  readonly startedAt: number;
  /** ExternalIds that a living customer had at some time since the task began. */
  readonly held: Set<string>;
  /** ExternalIds that a living customer had at all times since. */
  readonly alwaysHeld: Set<string>;
  done?: { readonly value?: unknown; readonly error?: unknown };
  readonly judge: (value: never, task: Task) => void;
}

interface Process {
  readonly customers: CustomerStorage;
  /** The step at which the test let one of its transactions fail. */
  faultAt: number;
}

interface Retry {
  readonly kind: 'store' | 'erase';
  readonly key: IdempotencyKey;
  readonly run: (process: Process) => Promise<WriteResult>;
  /** The customer of the first request. */
  number?: number | undefined;
  /** The history in which it is known. */
  history?: object;
}

interface Options {
  readonly place: Place;
  readonly random: Random;
  readonly counts: Counts;
  readonly parts?: Partial<Parts>;
  readonly actions?: number;
  /** The probability that the database refuses a write of an erasure or recovery. */
  readonly refused?: number;
  readonly processes?: number;
}

const externalIds = ['a', 'b', 'c'];
const now = noon;
const expiresAt = noon + 24 * 3_600_000;
const maxTasks = 5;

/** One deployment from its beginning. Throws `Violation`. */
export class Run {
  readonly #place: Place;
  readonly #random: Random;
  readonly #counts: Counts;
  readonly #parts: Partial<Parts>;
  readonly #actions: number;
  readonly #refused: number;
  readonly #processCount: number;
  readonly #scheduler = new Scheduler();
  #processes: Process[] = [];
  #tasks: Task[] = [];
  #state!: State;
  #keys: KeysHistory = { made: new Map() };
  #records: RecordsHistory = { keyOf: new Map(), sealedOf: new Map() };
  readonly #backups: Record<'keys' | 'data', { backup: Backup; history: KeysHistory | RecordsHistory }[]> = {
    keys: [],
    data: [],
  };
  /** Wrapped data keys of customers whose erasure was acknowledged, and of all that were ever stored. */
  readonly #acknowledged = new Set<string>();
  readonly #persons = new Map<string, number>();
  readonly #retries: Retry[] = [];
  #madeKeys = 0;
  #step = 0;
  #isServing = false;
  #lastPosition = 0;
  readonly #steps: string[] = [];

  constructor({ place, random, counts, parts = {}, actions = 160, refused = 0.14, processes = 3 }: Options) {
    this.#place = place;
    this.#random = random;
    this.#counts = counts;
    this.#parts = parts;
    this.#actions = actions;
    this.#refused = refused;
    this.#processCount = processes;
  }

  /** The last steps, for a message. */
  get trace(): readonly string[] {
    return this.#steps;
  }

  async play(): Promise<void> {
    this.#counts.runs += 1;
    try {
      await this.#start();
      for (let action = 0; action < this.#actions; action += 1) await this.#act();
      await this.#restart('crash');
    } finally {
      this.#scheduler.crash();
      await this.#place.end('stop');
      await this.#place.reset();
    }
  }

  #note(text: string): void {
    this.#steps.push(text);
  }

  async #act(): Promise<void> {
    const { chance, next, pick } = this.#random;
    const choice = next();
    if (this.#scheduler.waiting.length > 0 && choice < 0.62) return this.#runStep();
    if (this.#tasks.length < maxTasks && choice < 0.86) return this.#startTask();
    if (choice < 0.9) return this.#retry(choice > 0.88);
    if (choice < 0.925) return this.#backUp('keys', chance(0.6));
    if (choice < 0.95) return this.#backUp('data', false);
    if (choice < 0.97) {
      this.#counts.crashes += 1;
      return this.#restart('crash');
    }
    if (this.#backups.keys.length > 0 && this.#backups.data.length > 0) {
      await this.#restore(pick(['keys', 'data', 'both', 'both raw']));
    }
  }

  // Steps and tasks

  async #runStep(): Promise<void> {
    const step = this.#random.pick(this.#scheduler.waiting);
    const task = step.task as Task | undefined;
    const entries = this.#state.log.length;
    const { rows } = this.#state;
    this.#note(`${task?.name} ${step.kind}`);
    await this.#scheduler.run(step);
    this.#step += 1;
    this.#counts.steps += 1;
    await this.#look();
    this.#remember(task, entries, rows);
    const ended = this.#tasks.filter(({ done }) => done !== undefined);
    this.#tasks = this.#tasks.filter(({ done }) => done === undefined);
    for (const task of ended) this.#judge(task);
    this.#check();
  }

  /** Notes a request that has just been recorded, so that a retry must get its answer. */
  #remember(task: Task | undefined, entries: number, rows: State['rows']): void {
    const retry = task?.retry;
    if (retry === undefined || retry.history !== undefined) return;
    const { log } = this.#state;
    if (retry.kind === 'erase' && log.length > entries) {
      retry.number = this.#numberOf(log.at(-1)?.hash as string);
      retry.history = this.#keys;
    } else if (retry.kind === 'store' && this.#state.rows.size > rows.size) {
      retry.number = [...this.#state.rows.keys()].find((number) => !rows.has(number));
      retry.history = this.#records;
    } else return;
    this.#retries.push(retry);
  }

  #startTask(): undefined {
    const { chance, next, pick } = this.#random;
    const kind = next();
    const numbers = [...this.#state.rows.keys()];
    const externalId = pick(externalIds);
    if (kind < 0.36 || numbers.length === 0) return this.#startStore(externalId);
    if (kind < 0.47) return this.#startUpdate(pick(numbers), chance(0.5) ? pick(externalIds) : undefined);
    if (kind < 0.77) return this.#startErase(chance(0.5) ? { urn: toUrn(pick(numbers)) } : byExternalId(externalId));
    if (kind < 0.85) return this.#startFind(pick(numbers));
    if (kind < 0.89) return this.#startValidate(externalId);
    this.#begin(
      'recover',
      ({ customers }) => customers.recovery.recover(tenant),
      () => {},
    );
  }

  #begin<Result>(
    name: string,
    work: (process: Process) => Promise<Result> | Result,
    judge: (result: Result, task: Task) => void,
    retry?: Retry,
  ): undefined {
    const process = this.#random.pick(this.#processes);
    const held = this.#livingExternalIds();
    const task: Task = {
      name: `${name}#${this.#step}`,
      process,
      startedAt: this.#step,
      held: new Set(held),
      alwaysHeld: new Set(held),
      judge,
      ...(retry && { retry }),
    };
    this.#note(`start ${task.name} by ${this.#processes.indexOf(process)}`);
    this.#tasks.push(task);
    this.#scheduler
      .start(task, async () => work(process))
      .then(
        (value) => {
          task.done = { value };
        },
        (error) => {
          task.done = { error };
        },
      );
  }

  #newRetry(kind: Retry['kind'], run: (process: Process, key: IdempotencyKey) => Promise<WriteResult>): Retry {
    this.#madeKeys += 1;
    const key = idempotencyKey(`key ${this.#madeKeys}`, `request ${this.#madeKeys}`, expiresAt);
    return { kind, key, run: (process) => run(process, key) };
  }

  #startStore(externalId: string): undefined {
    const email = `${externalId}@example.com`;
    const store = ({ customers }: Process, key?: IdempotencyKey) =>
      customers.repository.store(tenant, content(externalId, { email }), { ...actor, now }, key);
    const retry = this.#random.chance(0.4) ? this.#newRetry('store', store) : undefined;
    this.#begin(
      `store ${externalId}`,
      (process) => (retry ? retry.run(process) : store(process)),
      (result, { held }) => {
        if (result.code === 'SUCCESS') return;
        must(/ALREADY_STORED|SAME_EMAIL/.test(result.code), () => `store answered ${result.code}`);
        must(held.has(externalId), () => `store of ${externalId} met ${result.code}, and no living customer has it`);
      },
      retry,
    );
  }

  #startUpdate(number: number, externalIdentifier: string | undefined): undefined {
    const decide = overwrite({
      firstName: `step ${this.#step}`,
      ...(externalIdentifier && { externalIdentifier, email: `${externalIdentifier}@example.com` }),
    });
    this.#begin(
      `update ${number}`,
      ({ customers }) => customers.repository.update(tenant, { urn: toUrn(number) }, decide, { ...actor, now }),
      (result) =>
        must(
          /^SUCCESS$|NOT_FOUND$|ALREADY_STORED$|SAME_EMAIL_EXISTS$/.test(result.code),
          () => `update: ${result.code}`,
        ),
    );
  }

  #startErase(by: CustomerReference): undefined {
    const erase = ({ customers }: Process, key?: IdempotencyKey) =>
      customers.repository.erase(tenant, by, { ...actor, now }, key);
    const retry = this.#random.chance(0.5) ? this.#newRetry('erase', erase) : undefined;
    this.#begin(
      `erase ${JSON.stringify(by)}`,
      (process) => (retry ? retry.run(process) : erase(process)),
      (result) => {
        if (result.code === 'SUCCESS') return this.#acknowledge(result);
        must(result.code === 'CUSTOMER_NOT_FOUND' && 'externalId' in by, () => `erase: ${result.code}`);
      },
      retry,
    );
  }

  #startFind(number: number): undefined {
    const key = this.#records.keyOf.get(number);
    const wasErased = key !== undefined && this.#acknowledged.has(key);
    this.#begin(
      `find ${number}`,
      async ({ customers }) => customers.repository.find(tenant, { urn: toUrn(number) }),
      (stored) =>
        must(!wasErased || (stored !== undefined && isAnonymized(stored.customer)), () => `${number} is readable`),
    );
  }

  #startValidate(externalId: string): undefined {
    this.#begin(
      `validate ${externalId}`,
      async ({ customers }) => customers.repository.hasExternalId(tenant, externalId as never),
      (isHeld, { held, alwaysHeld }) => {
        must(!isHeld || held.has(externalId), () => `${externalId} is taken by nobody`);
        must(isHeld || !alwaysHeld.has(externalId), () => `${externalId} is free, and a living customer has it`);
      },
    );
  }

  /** A retry of an earlier request, or another request under its key. */
  #retry(isAnother: boolean): void {
    const known = this.#retries.filter(({ history }) => history === this.#keys || history === this.#records);
    // Mostly the last one, whose erasure may still be unfinished.
    const retry = this.#random.chance(0.7) ? known.at(-1) : this.#random.pick(known);
    if (retry === undefined) return;
    const { number, history, kind, run } = retry;
    const isKnown = () => history === (kind === 'erase' ? this.#keys : this.#records);
    if (isAnother) {
      this.#counts.reusedKeys += 1;
      const key = { ...retry.key, requestDigest: idempotencyKey('', 'another request', 0).requestDigest };
      const urn = toUrn(this.#random.pick([...this.#state.rows.keys()]));
      this.#begin(
        `another request under the key of ${number}`,
        ({ customers }) => customers.repository.erase(tenant, { urn }, { ...actor, now }, key),
        (result) =>
          must(result.code === 'IDEMPOTENCY_KEY_REUSED' || !isKnown(), () => `another request: ${result.code}`),
      );
      return;
    }
    this.#counts.retries += 1;
    this.#begin(`retry of ${kind} ${number}`, run, (result) => {
      const answered = result.code === 'SUCCESS' ? toNumber(result.stored.customer.customerUrn) : result.code;
      must(answered === number || !isKnown(), () => `retry got ${answered}, not ${number}`);
      if (kind === 'erase') this.#acknowledge(result);
    });
  }

  #judge(task: Task): undefined {
    const { name, done, process, startedAt, judge } = task;
    const { value, error } = done as { value?: never; error?: unknown };
    this.#note(`end ${name}: ${error ?? JSON.stringify((value as { code?: string } | undefined)?.code)}`);
    if (error === undefined) {
      judge(value as never, task);
      return;
    }
    const isExpected = error instanceof DatabaseFailure && (process.faultAt >= startedAt || this.#hasForeignRows());
    must(
      isExpected,
      () =>
        `${name} failed: ${error instanceof Error ? (error.stack ?? error) : error} ${String((error as Error).cause)}`,
    );
  }

  #acknowledge(result: WriteResult): undefined {
    if (result.code !== 'SUCCESS') return;
    const number = toNumber(result.stored.customer.customerUrn) as number;
    must(isAnonymized(result.stored.customer), () => `the answer to an erasure of ${number} is readable`);
    this.#counts.acknowledged += 1;
    if (this.#state.rows.get(number)?.erasure === null) this.#counts.acknowledgedUnfinished += 1;
    for (const [key, owner] of this.#persons)
      if (owner === number && this.#isGoneFromKeys(key)) this.#acknowledged.add(key);
  }

  // Crashes, backups and restores

  async #backUp(part: 'keys' | 'data', isMarked: boolean): Promise<void> {
    this.#note(`back up ${part}`);
    const backup = await this.#place.backup(part, isMarked);
    this.#backups[part].push({ backup, history: part === 'keys' ? copyKeys(this.#keys) : copyRecords(this.#records) });
  }

  async #restore(what: 'keys' | 'data' | 'both' | 'both raw'): Promise<void> {
    this.#counts.restores += 1;
    const before = this.#state;
    const hasAllRows = before.log.every(({ hash, sequence, sealed }) => {
      const row = before.rows.get(this.#numberOf(hash) ?? -1);
      return row?.erasure === sequence && row.sealed === sealed;
    });
    this.#note(`restore ${what}`);
    await this.#endProcesses('crash');
    if (what !== 'data') {
      const { backup, history } = this.#random.pick(this.#backups.keys);
      await this.#place.restore(what === 'both raw' ? { ...backup, isMarked: false } : backup);
      this.#keys = copyKeys(history as KeysHistory);
    }
    if (what !== 'keys') {
      const { backup, history } = this.#random.pick(this.#backups.data);
      await this.#place.restore(backup);
      this.#records = copyRecords(history as RecordsHistory);
    }
    await this.#look();
    const isPrefix = this.#state.log.every(({ chain }, index) => before.log[index]?.chain === chain);
    await this.#start();
    if (what === 'keys' && isPrefix && hasAllRows) {
      this.#counts.sameChainAgain += 1;
      must(this.#state.head?.chain === before.head?.chain, () => 'the rows did not give the same chain back');
    }
  }

  async #endProcesses(how: 'crash' | 'stop'): Promise<void> {
    this.#isServing = false;
    this.#scheduler.crash();
    this.#tasks = [];
    await this.#place.end(how);
  }

  async #restart(how: 'crash' | 'stop'): Promise<void> {
    this.#note(how);
    await this.#endProcesses(how);
    await this.#start();
  }

  /** Starts the processes, the first of which recovers. */
  async #start(): Promise<void> {
    await this.#look();
    const { must: erased, lost } = this.#mustBeErased();
    if (lost.length > 0) this.#counts.lostWithBoth += 1;
    const databases = await this.#place.open(this.#processCount);
    const [first] = databases as [SqlDatabase];
    const starting = customersOf(this.#place, first, this.#parts);
    const said = await recoverAtStart(starting, first, Date.now());
    if (said.some((text) => text.includes('do not belong together'))) this.#counts.mismatches += 1;
    if (said.some((text) => text.includes('older than the records'))) this.#counts.olderKeys += 1;
    await this.#look();
    for (const key of erased) this.#checkErased(key, 'start');
    for (const key of lost) this.#acknowledged.delete(key);
    await this.#checkRecovered(starting, first);
    this.#processes = databases.map((database) => this.#newProcess(database));
    this.#isServing = true;
    this.#lastPosition = 0;
    this.#check();
  }

  #newProcess(database: SqlDatabase): Process {
    const process: { customers?: CustomerStorage; faultAt: number } = { faultAt: -1 };
    const fault = () => {
      process.faultAt = this.#step;
    };
    const faults: Faults = {
      ofWrite: (task) => {
        const chosen = this.#random.next();
        const refused = /^(erase|recover)/.test((task as Task | undefined)?.name ?? '') ? this.#refused : 0.04;
        if (chosen > refused + 0.03) return 'none';
        fault();
        return chosen < refused ? 'refused' : 'answer lost';
      },
      ofCheckpoint: () => this.#random.chance(0.2),
    };
    process.customers = customersOf(this.#place, stepped(database, this.#scheduler, faults), this.#parts);
    return process as Process;
  }

  /** Acknowledged erasures that the keys or the records still know, and the others. */
  #mustBeErased(): { must: string[]; lost: string[] } {
    const must: string[] = [];
    const lost: string[] = [];
    for (const key of this.#acknowledged) {
      const number = this.#persons.get(key) as number;
      if (this.#isGoneFromKeys(key) || this.#isGoneFromRecords(key, number)) must.push(key);
      else if (this.#records.keyOf.get(number) === key || this.#keys.made.has(key)) lost.push(key);
    }
    return { must, lost };
  }

  // What must hold

  /** Reads the deployment anew and adds to the histories what is new in it. */
  async #look(): Promise<void> {
    this.#state = await this.#place.read();
    const { keys, rows } = this.#state;
    for (const [number, key] of keys) this.#keys.made.set(key, number);
    for (const { number, sealed, erasure } of rows.values()) {
      const key = keys.get(number);
      if (!this.#records.keyOf.has(number) && key !== undefined) {
        this.#records.keyOf.set(number, key);
        this.#persons.set(key, number);
      }
      if (erasure !== null) continue;
      const all = this.#records.sealedOf.get(number) ?? new Set();
      this.#records.sealedOf.set(number, all.add(sealed));
    }
    const living = this.#livingExternalIds();
    for (const task of this.#tasks) {
      for (const externalId of living) task.held.add(externalId);
      for (const externalId of task.alwaysHeld) if (!living.has(externalId)) task.alwaysHeld.delete(externalId);
    }
  }

  /** ExternalIds of customers that were not erased. */
  #livingExternalIds(): Set<string> {
    const indexes = new Map(
      externalIds.map((id) => [this.#place.vault.blindIndex(tenant, 'externalId', id).toString('hex'), id]),
    );
    const living = new Set<string>();
    for (const { number, external_id } of this.#state?.rows.values() ?? []) {
      const id = external_id === null ? undefined : indexes.get(external_id);
      if (id !== undefined && (this.#state.keys.has(number) || this.#entryOf(number) === undefined)) living.add(id);
    }
    return living;
  }

  #hashes = new Map<number, string>();
  #hashOf(number: number): string {
    const known =
      this.#hashes.get(number) ?? this.#place.vault.erasureHash(`${tenant} ${toUrn(number)}`).toString('hex');
    this.#hashes.set(number, known);
    return known;
  }
  #numberOf(hash: string): number | undefined {
    return [...this.#state.rows.keys(), ...this.#persons.values()].find((number) => this.#hashOf(number) === hash);
  }
  #entryOf(number: number) {
    const hash = this.#hashOf(number);
    return this.#state.log.find((entry) => entry.hash === hash);
  }

  #isGoneFromKeys(key: string): boolean {
    const number = this.#keys.made.get(key);
    return number !== undefined && this.#state.keys.get(number) !== key;
  }
  #isGoneFromRecords(key: string, number: number): boolean {
    return this.#records.keyOf.get(number) === key && (this.#state.rows.get(number)?.erasure ?? null) !== null;
  }

  /** Whether there are rows whose keys these keys never had: of another, or a newer, backup. */
  #hasForeignRows(): boolean {
    const { rows, keys } = this.#state;
    return [...rows.values()].some(
      ({ number, erasure }) =>
        erasure === null && (this.#isForeign(number) || (!keys.has(number) && !this.#entryOf(number))),
    );
  }
  #isForeign(number: number): boolean {
    const key = this.#records.keyOf.get(number);
    return key === undefined || !this.#keys.made.has(key);
  }

  #checkErased(key: string, where: string): void {
    const number = this.#persons.get(key) as number;
    const { keys, rows } = this.#state;
    must(keys.get(number) !== key, () => `${where}: ${number} was erased and its key is back`);
    const isTheirs = this.#records.keyOf.get(number) === key;
    must(!isTheirs || rows.get(number)?.erasure !== null, () => `${where}: ${number} was erased and is not anonymized`);
    must(this.#entryOf(number) !== undefined, () => `${where}: ${number} was erased and is not in the log`);
  }

  /** What must hold after any step. */
  #check(): void {
    this.#checkKeys();
    this.#checkLog();
    this.#checkPosition();
    this.#checkEvents();
  }

  #checkKeys(): void {
    const { keys, rows } = this.#state;
    for (const key of this.#acknowledged) {
      const number = this.#persons.get(key) as number;
      const isKnown = this.#isGoneFromKeys(key) || this.#isGoneFromRecords(key, number);
      must(!isKnown || keys.get(number) !== key, () => `the key of an erased customer (${number}) is there`);
    }
    for (const [number, key] of this.#records.keyOf) {
      const row = rows.get(number);
      must(row !== undefined, () => `the record of ${number} is gone`);
      if (row.erasure !== null || !this.#keys.made.has(key) || keys.get(number) === key) continue;
      must(this.#entryOf(number) !== undefined, () => `living ${number} lost its key`);
    }
  }

  #checkLog(): void {
    const { log, head } = this.#state;
    const { vault, deployment } = this.#place;
    let chain = vault.chainLink(Buffer.alloc(0), 'erasure log', deployment, tenant);
    for (const [index, entry] of log.entries()) {
      must(entry.sequence === index + 1, () => `a gap before entry ${entry.sequence}`);
      chain = vault.chainLink(chain, entry.sequence, Buffer.from(entry.hash, 'hex'), Buffer.from(entry.sealed, 'hex'));
      must(entry.chain === chain.toString('hex'), () => `the chain is broken at ${entry.sequence}`);
    }
    must((head?.sequence ?? 0) === log.length, () => `the head is ${head?.sequence} of ${log.length}`);
    must(head === undefined || head.chain === chain.toString('hex'), () => 'the head has another chain');
    must(new Set(log.map(({ hash }) => hash)).size === log.length, () => 'entered twice');
  }

  /** The position is past no entry whose record is not anonymized, or something of which is in a write-ahead log. */
  #checkPosition(): void {
    const { position, log, rows } = this.#state;
    if (position === undefined || !this.#isServing || !this.#isInLog(position)) return;
    must(position.sequence >= this.#lastPosition, () => `the position went back to ${position.sequence}`);
    this.#lastPosition = position.sequence;
    const applied = log.slice(0, position.sequence).map((entry) => this.#numberOf(entry.hash) as number);
    const logs = { keys: this.#place.logOf('keys'), data: this.#place.logOf('data') };
    for (const number of applied) {
      const row = rows.get(number);
      must(row?.erasure !== null, () => `the position ${position.sequence} is past ${number}, which is not anonymized`);
      for (const [key, owner] of this.#keys.made) {
        if (owner !== number || this.#state.keys.get(number) === key) continue;
        must(
          !logs.keys.includes(Buffer.from(key, 'hex')),
          () => `the position is past ${number}, whose key is in the log`,
        );
      }
      for (const sealed of this.#records.sealedOf.get(number) ?? []) {
        const bytes = Buffer.from(sealed, 'hex');
        must(!logs.data.includes(bytes), () => `the position is past ${number}, whose record is in the log`);
      }
    }
  }
  #isInLog({ sequence, chain }: Position): boolean {
    return sequence === 0 || this.#state.log[sequence - 1]?.chain === chain;
  }

  /** One event a version, without gaps. */
  #checkEvents(): void {
    const { rows, events } = this.#state;
    const expected = [...rows.values()].flatMap(({ number, version }) =>
      Array.from({ length: version }, (_, index) => ({ number, version: index + 1 })),
    );
    const found = events.map(({ number, version }) => ({ number, version }));
    must(
      isDeepStrictEqual(found, expected),
      () => `events are ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`,
    );
    for (const { number, version, type } of events) {
      const isLast = rows.get(number)?.erasure !== null && rows.get(number)?.version === version;
      const right = isLast ? 'customer.anonymized' : version === 1 ? 'customer.stored' : 'customer.updated';
      must(type === right, () => `the event ${number}@${version} is ${type}`);
    }
  }

  /** What must hold after the recovery of a start: a second one has no work, and each row keeps its entry. */
  async #checkRecovered(customers: CustomerStorage, database: SqlDatabase): Promise<void> {
    let writes = 0;
    const counting: SqlDatabase = {
      ...database,
      write(program) {
        writes += 1;
        return database.write(program);
      },
    };
    const second = await customersOf(this.#place, counting, this.#parts).recovery.recover(tenant);
    must(writes === 0 && second.findings.length === 0, () => `a second recovery had work: ${JSON.stringify(second)}`);
    const { rows, log, position, head } = this.#state;
    must(isDeepStrictEqual(position, head) || log.length === 0, () => 'the position is not the head');
    for (const { number, erasure, sealed, external_id, email } of rows.values()) {
      if (erasure === null) {
        must(this.#entryOf(number) === undefined, () => `start: ${number} has an entry and is not anonymized`);
        continue;
      }
      must(external_id === null && email === null, () => `start: ${number} keeps its unique keys`);
      const entry = this.#entryOf(number);
      must(
        entry?.sequence === erasure && entry.sealed === sealed,
        () =>
          `start: ${number} keeps another entry: ${erasure}, not ${entry?.sequence}, bytes ${entry?.sealed === sealed}`,
      );
    }
    const { findings } = await customers.audit.verify(tenant);
    const bad = findings.filter(
      ({ number, kind }) => !/key_missing|unreadable/.test(kind) || !this.#isForeign(number as number),
    );
    must(bad.length === 0, () => `start: the audit finds ${JSON.stringify(bad)}`);
  }
}

const copyKeys = ({ made }: KeysHistory): KeysHistory => ({ made: new Map(made) });
const copyRecords = ({ keyOf, sealedOf }: RecordsHistory): RecordsHistory => ({
  keyOf: new Map(keyOf),
  sealedOf: new Map([...sealedOf].map(([number, all]) => [number, new Set(all)])),
});
