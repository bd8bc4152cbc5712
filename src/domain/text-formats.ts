/** The formats of text fields: their rules and their canonical forms. */
import { canonicalEmail, dialledNumber, isReservedExternalId, parseCustomerUrn } from './identity.ts';
import type { ReferenceData } from './reference-data.ts';
import type { ViolationCode } from './violations.ts';

/** Reports a violation of the field being parsed. */
export type Fail = (code: ViolationCode, message: string) => undefined;

export const maxExternalIdLength = 128;
export const maxAsciiIdentifierLength = 64;
/** The most that a query can ask for with `limit`, and with `wait` in seconds. */
export const maxPageLimit = 10_000;
/** The most events of one answer: some 10 ms of work, in which no other request is served. */
export const maxEventLimit = 1_000;
export const maxWaitSeconds = 30;
export const maxCursorLength = 128;
/** As written. E.164 has at most 15 digits; the rest is room for formatting. */
export const maxPhoneNumberLength = 40;

/** The canonical form of a text by the name of its format; undefined, and a violation, if it breaks a rule. */
export const formats = {
  externalId: (text, fail) => {
    const externalId = readExternalId(text, fail);
    return externalId !== undefined && isReservedExternalId(externalId)
      ? fail('reserved', 'Must not begin with "cu." or "anonymized-", which are reserved.')
      : externalId;
  },
  /** Refers to a stored customer. A reserved ExternalId is accepted here, but no customer has one. */
  externalReference: readExternalId,
  customerUrn: (text, fail) =>
    parseCustomerUrn(text) ?? fail('invalid_format', 'Must be a CustomerUrn such as cu.00.482.'),
  email(text, fail, referenceData) {
    // Input methods for Chinese, Japanese and Korean write a full-width sign.
    const address = text.replace(/[＠﹫]/g, '@');
    return canonicalEmail(address, referenceData) === undefined
      ? fail(
          'invalid_format',
          'Must be an e-mail address (RFC 5321) of at most 254 bytes, without a name or invisible characters.',
        )
      : address;
  },
  phoneNumber: (text, fail) =>
    withinLength(text, maxPhoneNumberLength, fail) &&
    (dialledNumber(text) ??
      fail('invalid_format', 'Must be a phone number: digits, with "+", spaces, dots, dashes, slashes and brackets.')),
  asciiIdentifier: (text, fail) =>
    withinLength(text, maxAsciiIdentifierLength, fail) &&
    (/^[\x21-\x7e]+$/.test(text) ? text : fail('invalid_format', 'Must be visible ASCII characters, without spaces.')),
  pageLimit: (text, fail) => wholeNumber(text, 1, maxPageLimit, fail),
  eventLimit: (text, fail) => wholeNumber(text, 1, maxEventLimit, fail),
  waitSeconds: (text, fail) => wholeNumber(text, 0, maxWaitSeconds, fail),
  cursor: (text, fail) =>
    /^[\w-]+$/.test(text) && text.length <= maxCursorLength ? text : fail('invalid_format', mustBeCursor),
  countryCode: (text, fail, referenceData) =>
    referenceData.countryCode(text) ?? fail('invalid_value', 'Must be an ISO 3166-1 alpha-2 country code.'),
  languageCode: (text, fail, referenceData) =>
    referenceData.languageCode(text) ?? fail('invalid_value', 'Must be an ISO 639-1 language code.'),
} satisfies Readonly<Record<string, (text: string, fail: Fail, referenceData: ReferenceData) => string | undefined>>;

/** Digits of a number, as a query has it. */
const wholeNumber = (text: string, least: number, most: number, fail: Fail): string | undefined =>
  /^(?:0|[1-9]\d*)$/.test(text) && Number(text) >= least && Number(text) <= most
    ? text
    : fail('invalid_value', `Must be a whole number from ${least} to ${most}.`);

export const mustBeCursor = 'Must be the `next` of an earlier answer, "start" or "end".';

function readExternalId(text: string, fail: Fail): string | undefined {
  const externalId = withinLength(text, maxExternalIdLength, fail);
  return externalId !== undefined && /\p{Cc}/u.test(externalId)
    ? fail('invalid_format', 'Must not contain control characters.')
    : externalId;
}

/** Counts code points, like JSON Schema's `maxLength`, unless the number of UTF-16 units decides already. */
export function withinLength(text: string, max: number, fail: Fail): string | undefined {
  const isTooLong = text.length > max && (text.length > 2 * max || [...text].length > max);
  return isTooLong ? fail('too_long', `Must be at most ${max} characters.`) : text;
}
