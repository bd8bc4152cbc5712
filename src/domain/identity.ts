import type { ReferenceData } from './reference-data.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A company whose backend calls this service. Made by authentication and the command line alone. */
export type TenantId = Branded<'TenantId'>;
/** Our identifier of a customer: `cu.<partition>.<sequence>`. Never reused. */
export type CustomerUrn = Branded<'CustomerUrn'>;
/** The tenant's own identifier of a customer, trimmed and in NFC; compared byte for byte. */
export type ExternalId = Branded<'ExternalId'>;

/** 1 to 63 lower-case letters, digits, dashes and underscores, beginning with a letter or digit. */
export function parseTenantId(text: string): TenantId | undefined {
  return /^[a-z0-9][a-z0-9_-]{0,62}$/.test(text) ? (text as TenantId) : undefined;
}

/** A well-formed URN, whether or not it was ever handed out. */
export function parseCustomerUrn(text: string): CustomerUrn | undefined {
  return /^cu\.\d{2}\.(0|[1-9]\d{0,99})$/.test(text) ? (text as CustomerUrn) : undefined;
}

/** @param partition two digits, set per deployment; @param sequence a positive whole number */
export function customerUrn(partition: string, sequence: number): CustomerUrn {
  return `cu.${partition}.${sequence}` as CustomerUrn;
}

/** Prefixes that an ExternalId must not have: it could be taken for an identifier of ours. */
const reservedPrefixes = ['cu.', 'anonymized-'];

export const isReservedExternalId = (text: string): boolean =>
  reservedPrefixes.some((prefix) => text.startsWith(prefix));

const atom = "[a-z0-9!#$%&'*+/=?^_`{|}~\\u0080-\\u{10ffff}-]+";
const dotString = new RegExp(`^${atom}(?:\\.${atom})*$`, 'iu');
const quotedString = /^"(?:[ !#-[\]-~\u0080-\u{10ffff}]|\\[ -~])*"$/u;
const domainLabel = /^[a-z0-9\u0080-\u{10ffff}](?:[a-z0-9\u0080-\u{10ffff}-]*[a-z0-9\u0080-\u{10ffff}])?$/iu;
/** What nobody sees: controls, white space but the ASCII one, and two symbols that are drawn as nothing or as a box. */
const invisible = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u2800\ufffc]|(?! )\p{White_Space}/u;
/** RFC 5321 section 4.5.3.1.1, in octets. */
const maxLocalPartBytes = 64;
/** RFC 5321 section 4.5.3.1.3 bounds a path at 256 octets, two of which are its angle brackets. */
const maxEmailBytes = 254;

/** What most addresses are, and what is canonical as it is: a dot-string and a host name of ASCII, in lower case. */
const isPlain = /^[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:(?!xn--)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.|$))+(?<!\.)$/;

/**
 * The canonical form by which an e-mail address is unique: NFKC, lower case, the domain in ASCII by IDNA, a
 * needlessly quoted local part without its quotes. Undefined where the text is no RFC 5321 mailbox (with the
 * letters of RFC 6531), is over 254 bytes, or holds an invisible or bidirectional control character.
 * The canonical form of a canonical form is itself.
 */
export function canonicalEmail(text: string, referenceData: ReferenceData): string | undefined {
  // So short that no part of it can be too long.
  if (text.length <= maxLocalPartBytes && isPlain.test(text)) return text;
  if (utf8Bytes(text) > maxEmailBytes || invisible.test(text)) return undefined;
  // Compatibility forms may hide an `@` or a dot, so the grammar is checked on what will be compared.
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
  // IDNA knows full stops other than the ASCII one, so labels may come to light that were none before.
  return ascii?.split('.').every((label) => label.length <= 63 && domainLabel.test(label)) ? ascii : undefined;
}

/** `"jane.doe"@…` and `jane.doe@…` are one mailbox, as are needless and missing escapes (RFC 5321 section 4.1.2). */
function unquoted(localPart: string): string {
  if (!quotedString.test(localPart)) return localPart;
  const content = localPart.slice(1, -1).replace(/\\(.)/gu, '$1');
  return dotString.test(content) ? content : `"${content.replace(/["\\]/g, '\\$&')}"`;
}

/** Lower-casing can undo NFKC and the other way round, so both are repeated until nothing changes. */
function fold(text: string): string {
  const folded = text.normalize('NFKC').toLowerCase();
  return folded === text ? text : fold(folded);
}

function utf8Bytes(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) as number;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}

/** The values that no two customers of one tenant may share, in the forms that are compared. */
export interface UniqueKeys {
  readonly externalId: ExternalId;
  /** See {@link canonicalEmail}. */
  readonly email?: string;
  /** E.164. */
  readonly phoneNumber?: string;
}

/** The answer to a uniqueness rule that was broken. */
export type Conflict = 'CUSTOMER_ALREADY_STORED' | 'USER_WITH_SAME_EMAIL_EXISTS' | 'USER_WITH_SAME_PHONE_NUMBER_EXISTS';

/** The order in which uniqueness rules are reported when several are broken at once. */
const precedence: readonly (readonly [keyof UniqueKeys, Conflict])[] = [
  ['externalId', 'CUSTOMER_ALREADY_STORED'],
  ['email', 'USER_WITH_SAME_EMAIL_EXISTS'],
  ['phoneNumber', 'USER_WITH_SAME_PHONE_NUMBER_EXISTS'],
];

/**
 * The conflict to report for `wanted`, given the identities of other customers of the same tenant; undefined
 * where there is none.
 */
export function firstConflict(wanted: UniqueKeys, others: readonly Partial<UniqueKeys>[]): Conflict | undefined {
  return precedence.find(
    ([name]) => wanted[name] !== undefined && others.some((other) => other[name] === wanted[name]),
  )?.[1];
}
