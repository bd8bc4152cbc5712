import type { ReferenceData } from './reference-data.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** The id of a tenant, i.e. a company whose backend calls this service. Created from text by {@link parseTenantId}. */
export type TenantId = Branded<'TenantId'>;
/** The service's identifier of a customer: `cu.<partition>.<sequence>`. Never reused. */
export type CustomerUrn = Branded<'CustomerUrn'>;
/** The tenant's own identifier of a customer, trimmed and in NFC; compared byte for byte. */
export type ExternalId = Branded<'ExternalId'>;

/** Accepts 1 to 63 lower-case letters, digits, dashes and underscores, of which the first is a letter or digit. */
export function parseTenantId(text: string): TenantId | undefined {
  return /^[a-z0-9][a-z0-9_-]{0,62}$/.test(text) ? (text as TenantId) : undefined;
}

/** Accepts every well-formed CustomerUrn, whether or not it was ever issued. */
export function parseCustomerUrn(text: string): CustomerUrn | undefined {
  return /^cu\.\d{2}\.(0|[1-9]\d{0,99})$/.test(text) ? (text as CustomerUrn) : undefined;
}

/**
 * @param partition two digits, set per deployment
 * @param sequence a positive whole number
 */
export function customerUrn(partition: string, sequence: number): CustomerUrn {
  return `cu.${partition}.${sequence}` as CustomerUrn;
}

/** An ExternalId with one of these prefixes could be mistaken for a CustomerUrn or an anonymized ExternalId. */
export const isReservedExternalId = (text: string): boolean => /^(?:cu\.|anonymized-)/.test(text);

const atom = "[a-z0-9!#$%&'*+/=?^_`{|}~\\u0080-\\u{10ffff}-]+";
const dotString = new RegExp(`^${atom}(?:\\.${atom})*$`, 'iu');
const quotedString = /^"(?:[ !#-[\]-~\u0080-\u{10ffff}]|\\[ -~])*"$/u;
const domainLabel = /^[a-z0-9\u0080-\u{10ffff}](?:[a-z0-9\u0080-\u{10ffff}-]*[a-z0-9\u0080-\u{10ffff}])?$/iu;
/** Invisible characters: controls, U+2800 (braille blank), U+FFFC, and all white space except the ASCII space. */
const invisible = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u2800\ufffc]|(?! )\p{White_Space}/u;
/** The limit of RFC 5321 section 4.5.3.1.1, in octets. */
const maxLocalPartBytes = 64;
/** RFC 5321 section 4.5.3.1.3 limits a path to 256 octets, including its two angle brackets. */
const maxEmailBytes = 254;

/** Matches most addresses in use: a lower-case ASCII dot-string and host name. They are already canonical. */
const isPlain = /^[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:(?!xn--)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.|$))+(?<!\.)$/;

/**
 * The canonical form of an e-mail address, used to check uniqueness: NFKC, lower case, the domain in ASCII (IDNA), no
 * unnecessary quotes around the local part. Undefined if the text is not an RFC 5321 mailbox (extended by RFC 6531), is
 * longer than 254 bytes, or contains an invisible or bidirectional control character. Idempotent.
 */
export function canonicalEmail(text: string, referenceData: ReferenceData): string | undefined {
  // An address this short cannot exceed any length limit.
  if (text.length <= maxLocalPartBytes && isPlain.test(text)) return text;
  if (utf8Bytes(text) > maxEmailBytes || invisible.test(text)) return undefined;
  // NFKC may produce an `@` or a dot, so the grammar is checked on the folded text.
  const folded = fold(text);
  if (invisible.test(folded)) return undefined;
  const at = folded.lastIndexOf('@');
  const localPart = unquoted(folded.slice(0, at));
  if (at < 1 || utf8Bytes(localPart) > maxLocalPartBytes) return undefined;
  if (!dotString.test(localPart) && !quotedString.test(localPart)) return undefined;
  const domain = canonicalMailDomain(folded.slice(at + 1), referenceData);
  if (domain === undefined) return undefined;
  const canonical = `${localPart}@${domain}`;
  return utf8Bytes(canonical) > maxEmailBytes ? undefined : canonical;
}

function canonicalMailDomain(domain: string, referenceData: ReferenceData): string | undefined {
  const literal = /^\[(ipv6:)?([0-9a-f.:]+)\]$/.exec(domain);
  if (literal?.[2] !== undefined) return referenceData.isIpAddress(literal[2], literal[1] ? 6 : 4) ? domain : undefined;
  if (!domain.split('.').every((label) => domainLabel.test(label))) return undefined;
  const plainAscii = /^[a-z0-9.-]*$/.test(domain) && !/(?:^|\.)xn--/.test(domain);
  const ascii = plainAscii ? domain : referenceData.asciiDomain(domain);
  // Labels are checked again, because IDNA maps other full stops to the ASCII full stop, which can create new labels.
  return ascii?.split('.').every((label) => label.length <= 63 && domainLabel.test(label)) ? ascii : undefined;
}

/** Removes quotes and escapes that change nothing: `"jane.doe"@…` is `jane.doe@…` (RFC 5321 section 4.1.2). */
function unquoted(localPart: string): string {
  if (!quotedString.test(localPart)) return localPart;
  const content = localPart.slice(1, -1).replace(/\\(.)/gu, '$1');
  return dotString.test(content) ? content : `"${content.replace(/["\\]/g, '\\$&')}"`;
}

/** Lower-casing can undo NFKC and vice versa, so both are repeated until the text no longer changes. */
function fold(text: string): string {
  const folded = text.normalize('NFKC').toLowerCase();
  return folded === text ? text : fold(folded);
}

const utf8Bytes = (text: string): number => new TextEncoder().encode(text).length;

/** The values that no two customers of one tenant may share, in their canonical forms. */
export interface UniqueKeys {
  readonly externalId: ExternalId;
  /** See {@link canonicalEmail}. */
  readonly email?: string;
  /** E.164. */
  readonly phoneNumber?: string;
}

/** The order of this object is the order in which conflicts are reported. */
const conflicts = {
  externalId: 'CUSTOMER_ALREADY_STORED',
  email: 'USER_WITH_SAME_EMAIL_EXISTS',
  phoneNumber: 'USER_WITH_SAME_PHONE_NUMBER_EXISTS',
} as const satisfies Record<keyof UniqueKeys, string>;
/** The result of a write that violates a uniqueness rule. */
export type Conflict = (typeof conflicts)[keyof UniqueKeys];

/** The first conflict between `wanted` and the unique keys of the tenant's other customers; undefined if there is none. */
export function firstConflict(wanted: UniqueKeys, others: readonly Partial<UniqueKeys>[]): Conflict | undefined {
  const names = Object.keys(conflicts) as (keyof UniqueKeys)[];
  const name = names.find((name) => wanted[name] !== undefined && others.some((other) => other[name] === wanted[name]));
  return name && conflicts[name];
}
