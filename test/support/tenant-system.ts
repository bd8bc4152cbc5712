/** A tenant's system, the messages of its changes, and a worker that delivers them without a table of its own. */

export interface Content {
  readonly email?: string;
  readonly phoneNumber?: string;
  readonly firstName?: string;
}

/** A customer of the tenant's system, with the revision of its last change. */
export interface Current {
  readonly content: Content;
  readonly revision: number;
}

/** The message of one change. A customer is named by its ExternalId. */
export type Message = { readonly revision: number } & (
  | { readonly kind: 'sync'; readonly name: string; readonly content: Content }
  | { readonly kind: 'erase'; readonly name: string }
  /** The customer keeps its CustomerUrn, if the old name is known when the message is delivered. */
  | { readonly kind: 'rename'; readonly from: string; readonly name: string; readonly content: Content }
);

/** Customers with unique names, e-mail addresses and phone numbers. One counter numbers the changes of all customers. */
export class TenantSystem {
  readonly customers = new Map<string, Current>();
  readonly messages: Message[] = [];
  #revision = 0;

  /** Stores or replaces a customer, unless one of its values belongs to another. Returns whether it did. */
  set(name: string, content: Content): boolean {
    if (this.#isTaken(name, content)) return false;
    this.#revision += 1;
    this.customers.set(name, { content, revision: this.#revision });
    this.messages.push({ kind: 'sync', name, content, revision: this.#revision });
    return true;
  }

  /** Deletes a customer, if there is one. */
  delete(name: string): void {
    if (!this.customers.delete(name)) return;
    this.#revision += 1;
    this.messages.push({ kind: 'erase', name, revision: this.#revision });
  }

  /** Gives a customer another name, if nobody has that. @param asDelete with a delete and a sync for messages */
  rename(from: string, name: string, asDelete: boolean): void {
    const content = this.customers.get(from)?.content;
    if (content === undefined || this.customers.has(name)) return;
    this.#revision += 1;
    const revision = this.#revision;
    this.customers.delete(from);
    this.customers.set(name, { content, revision });
    if (!asDelete) this.messages.push({ kind: 'rename', from, name, content, revision });
    else this.messages.push({ kind: 'erase', name: from, revision }, { kind: 'sync', name, content, revision });
  }

  /** Two customers exchange their e-mail addresses at once, as a database with deferred constraints can. */
  swapEmails(one: string, other: string): void {
    const [first, second] = [this.customers.get(one)?.content, this.customers.get(other)?.content];
    if (first === undefined || second === undefined || one === other) return;
    const withEmail = ({ email: _, ...content }: Content, { email }: Content): Content => ({
      ...content,
      ...(email !== undefined && { email }),
    });
    this.customers.delete(one);
    this.set(other, withEmail(second, first));
    this.set(one, withEmail(first, second));
  }

  #isTaken(name: string, { email, phoneNumber }: Content): boolean {
    return [...this.customers].some(
      ([other, { content }]) =>
        other !== name &&
        ((email !== undefined && content.email === email) ||
          (phoneNumber !== undefined && content.phoneNumber === phoneNumber)),
    );
  }
}

/** The answer to a `sync`: `done` also if it is stale. `name taken`, `value taken`: by another customer. */
export type Synced = 'done' | 'stale' | 'not found' | 'name taken' | 'value taken';

/** The calls of a worker. */
export interface Target {
  /** The CustomerUrn of a customer; undefined if there is none. */
  find(name: string): Promise<string | undefined>;
  sync(name: string, content: Content, revision: number, urn?: string): Promise<Synced>;
  /** Deletes a customer; no error if there is none, or a newer one. */
  erase(name: string, revision: number): Promise<void>;
}

/** Delivers a message. False if another message must come first: it is then to be delivered again. */
export async function deliver(message: Message, target: Target): Promise<boolean> {
  const { kind, name, revision } = message;
  if (kind === 'erase') {
    await target.erase(name, revision);
    return true;
  }
  if (kind === 'rename') {
    const urn = await target.find(message.from);
    const renamed = urn === undefined ? 'not found' : await target.sync(name, message.content, revision, urn);
    if (renamed === 'done' || renamed === 'value taken') return renamed === 'done';
    // The old name is unknown, or is a newer customer's, or the new name is in use or was deleted.
    await target.erase(message.from, revision);
  }
  const synced = await target.sync(name, message.content, revision);
  if (synced === 'done' || synced === 'stale') return true;
  if (synced === 'value taken') return false;
  throw new Error(`a sync by ExternalId was answered: ${synced}`);
}
