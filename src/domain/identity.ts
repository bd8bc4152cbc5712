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
const asciiLabel = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const addressLiteral = /^\[(ipv6:)?([0-9a-f.:]+)\]$/i;
/** Invisible characters: controls, U+2800 (braille blank), U+FFFC, and all white space except the ASCII space. */
const invisible = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u2800\ufffc]|(?! )\p{White_Space}/u;
/** The limit of RFC 5321 section 4.5.3.1.1, in octets. */
const maxLocalPartBytes = 64;
/** RFC 5321 section 4.5.3.1.3 limits a path to 256 octets, including its two angle brackets. */
const maxEmailBytes = 254;

/** Matches most addresses in use: a lower-case ASCII dot-string and host name. They are already canonical. */
const isPlain = /^[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:(?!xn--)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.|$))+(?<!\.)$/;

/**
 * The canonical form of an e-mail address, used to check uniqueness: the local part in NFKC, case-folded and without
 * unnecessary quotes; the domain in ASCII (UTS #46); an IPv6 address as in RFC 5952. Undefined if the text is not an
 * RFC 5321 mailbox (extended by RFC 6531) or contains an invisible or bidirectional control character. The limits of
 * 64 and 254 bytes apply to the text as sent.
 */
export function canonicalEmail(text: string, referenceData: ReferenceData): string | undefined {
  // An address this short cannot exceed any length limit.
  if (text.length <= maxLocalPartBytes && isPlain.test(text)) return text;
  if (utf8Bytes(text) > maxEmailBytes || invisible.test(text)) return undefined;
  const at = text.lastIndexOf('@');
  const localPart = canonicalLocalPart(text.slice(0, at));
  const domain = canonicalMailDomain(text.slice(at + 1), referenceData);
  return at < 1 || localPart === undefined || domain === undefined ? undefined : `${localPart}@${domain}`;
}

function canonicalLocalPart(text: string): string | undefined {
  if (utf8Bytes(text) > maxLocalPartBytes) return undefined;
  // NFKC may produce a dot, an `@` or a quote, so the grammar is checked on the folded text.
  const folded = fold(text);
  if (invisible.test(folded)) return undefined;
  if (dotString.test(folded)) return folded;
  return quotedString.test(folded) ? unquoted(folded) : undefined;
}

function canonicalMailDomain(text: string, referenceData: ReferenceData): string | undefined {
  const [, tag, address] = addressLiteral.exec(text) ?? [];
  if (address !== undefined) {
    const canonical = referenceData.ipAddress(address, tag === undefined ? 4 : 6);
    return canonical && `[${tag?.toLowerCase() ?? ''}${canonical}]`;
  }
  const isAscii = /^[a-z0-9.-]*$/i.test(text) && !/(?:^|\.)xn--/i.test(text);
  const domain = isAscii ? text.toLowerCase() : referenceData.asciiDomain(text);
  return domain?.split('.').every((label) => asciiLabel.test(label)) ? domain : undefined;
}

/** Removes quotes and escapes that change nothing: `"jane.doe"@…` is `jane.doe@…` (RFC 5321 section 4.1.2). */
function unquoted(quoted: string): string {
  const content = quoted.slice(1, -1).replace(/\\(.)/gu, '$1');
  return dotString.test(content) ? content : `"${content.replace(/["\\]/g, '\\$&')}"`;
}

/**
 * NFKC and full case folding (Unicode section 3.13). JavaScript has no case folding. Changing each character's case to
 * lower, upper and lower again has the same result (compared for all of Unicode 14), except for the dotless i. A single
 * character, because `toLowerCase` treats a sigma at the end of a word differently. Repeated until the text no longer
 * changes, because folding can undo NFKC and vice versa.
 */
function fold(text: string): string {
  const folded = text.normalize('NFKC').replace(/[^ı]/gu, (character) => recased(character));
  return folded === text ? text : fold(folded);
}
const recased = (character: string): string => character.toLowerCase().toUpperCase().toLowerCase();

const utf8Bytes = (text: string): number => new TextEncoder().encode(text).length;

/** Formatting of written phone numbers. Not `~`, `x` or `#`, which can also mark an extension. */
const phoneFormatting = /[\p{Zs}\p{Pd}\p{Cf}\t.．()[\]（）［］/／ー−⁓∼]/gu;

/** A zero in brackets, as in `+49 (0)30`: it is dialled only within the country. */
const optionalZero = /[(（]\p{Zs}*0\p{Zs}*[)）]/u;

/**
 * The digits of a written phone number: in ASCII, optionally after `+`; an optional zero stays in brackets. Undefined if
 * it has any other characters.
 */
export function dialledNumber(text: string): string | undefined {
  // Most numbers have no formatting, and the replacements below take two microseconds.
  if (/^\+?\d+$/.test(text)) return text;
  const dialled = text
    .replace(/^tel:/i, '')
    .replace(/\p{Nd}/gu, asciiDigit)
    .split(optionalZero)
    .map((part) => part.replace(phoneFormatting, ''))
    .join('(0)')
    .replace(/^＋/, '+');
  return /^\+?\d*(?:\(0\))?\d+$/.test(dialled) ? dialled : undefined;
}

/** The ASCII form of a decimal digit: each script's are ten code points in a row (Unicode section 4.6). */
function asciiDigit(digit: string): string {
  const codePoint = digit.codePointAt(0) as number;
  let first = codePoint;
  while (/\p{Nd}/u.test(String.fromCodePoint(first - 1))) first -= 1;
  return String((codePoint - first) % 10);
}

/** The values that no two customers of one tenant may share, in their canonical forms. */
export interface UniqueKeys {
  readonly externalId: ExternalId;
  /** See {@link canonicalEmail}. */
  readonly email?: string;
  /** E.164. */
  readonly phoneNumber?: string;
}

/** The fields of the unique keys and the codes of their conflicts, in the order in which conflicts are reported. */
const uniqueFields = {
  externalId: { field: 'customer.externalIdentifier', messageCode: 'CUSTOMER_ALREADY_STORED' },
  email: { field: 'customer.email', messageCode: 'USER_WITH_SAME_EMAIL_EXISTS' },
  phoneNumber: { field: 'customer.phoneNumber', messageCode: 'USER_WITH_SAME_PHONE_NUMBER_EXISTS' },
} as const satisfies Record<keyof UniqueKeys, object>;
export type ConflictCode = (typeof uniqueFields)[keyof UniqueKeys]['messageCode'];

/** A unique key of a request that another customer of the tenant holds. */
export interface Conflict {
  /** Path from the root of the request, e.g. `customer.email`. */
  readonly field: string;
  readonly messageCode: ConflictCode;
  /** The customer that holds the value. */
  readonly customerUrn: CustomerUrn;
}

/** The unique keys of one customer. */
export interface Holder {
  readonly customerUrn: CustomerUrn;
  readonly keys: Partial<UniqueKeys>;
}

/** The conflict of a request whose ExternalId belongs to this customer. */
export const externalIdConflict = (customerUrn: CustomerUrn): Conflict => ({ ...uniqueFields.externalId, customerUrn });

/** All conflicts between `wanted` and the tenant's other customers: ExternalId, e-mail address, phone number. */
export function conflictsOf(wanted: UniqueKeys, others: readonly Holder[]): readonly Conflict[] {
  const names = Object.keys(uniqueFields) as (keyof UniqueKeys)[];
  return names.flatMap((name) => {
    const holder = wanted[name] && others.find(({ keys }) => keys[name] === wanted[name]);
    return holder ? [{ ...uniqueFields[name], customerUrn: holder.customerUrn }] : [];
  });
}
