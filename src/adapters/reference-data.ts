import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import languages from 'iso-639-1';
import countries from 'iso-3166-1';
import {
  type CountryCode,
  getCountryCallingCode,
  isSupportedCountry,
  type PhoneNumber,
  parsePhoneNumberFromString,
} from 'libphonenumber-js/max/es6';
import { toASCII } from 'tr46';
import type { ReferenceData } from '../domain/reference-data.ts';

/** Reference data from maintained libraries: ISO tables, numbering plans, UTS #46. */
export function createReferenceData(): ReferenceData {
  const countryCodes = new Set(countries.all().map(({ alpha2 }) => alpha2));
  const languageCodes = new Set(languages.getAllCodes());

  return {
    // Checked before the case is changed, which turns some non-ASCII letters into ASCII (`ß`, `ﬁ`, the Kelvin sign).
    countryCode: (text) => (isLetters(text) ? member(countryCodes, text.toUpperCase()) : undefined),
    languageCode: (text) => (isLetters(text) ? member(languageCodes, text.toLowerCase()) : undefined),

    phoneNumber,
    asciiDomain: (domain) => toASCII(domain, strict) ?? undefined,
    ipAddress(text, version) {
      if (version === 4) return isIPv4(text) ? text : undefined;
      return isIPv6(text) ? new SocketAddress({ address: text, family: 'ipv6' }).address : undefined;
    },
  };
}

function phoneNumber(dialled: string, countryCode: string | undefined): string | undefined {
  // For a country without a numbering plan (Antarctica) only international numbers are accepted.
  const country = countryCode !== undefined && isSupportedCountry(countryCode) ? countryCode : undefined;
  const readings = new Map<string, PhoneNumber>();
  for (const text of readingsOf(dialled, country)) {
    const number = parseNumber(text, country);
    if (number !== undefined) readings.set(number.number, number);
  }
  const possible = [...readings.values()];
  const [number, another] = possible.length > 1 ? possible.filter((one) => one.isValid()) : possible;
  return another === undefined ? number?.number : undefined;
}

/**
 * The texts that people may mean. An optional zero, as in `+49 (0)30`, is dialled or not. `00` may stand for a plus sign,
 * and the country's calling code may lack it; before an optional zero, the code always lacks it.
 */
function readingsOf(dialled: string, country: CountryCode | undefined): string[] {
  const callingCode = country && getCountryCallingCode(country);
  const isCodeFirst = callingCode !== undefined && dialled.startsWith(`${callingCode}(0)`);
  const written = isCodeFirst ? `+${dialled}` : dialled;
  // Both are the same text if there is no optional zero.
  const texts = new Set([written.replace('(0)', '0'), written.replace('(0)', '')]);
  return [...texts].flatMap((text) => withPlus(text, callingCode));
}

function withPlus(text: string, callingCode: string | undefined): string[] {
  if (text.startsWith('00')) return [text, `+${text.slice(2)}`];
  return callingCode !== undefined && text.startsWith(callingCode) ? [text, `+${text}`] : [text];
}

/** E.164 allows 15 digits; the plans of some countries allow more. */
const maxE164Length = '+'.length + 15;

/** Undefined if the text is not a possible number, or its E.164 form would be another number. */
function parseNumber(text: string, country: CountryCode | undefined): PhoneNumber | undefined {
  const parse = (written: string) =>
    parsePhoneNumberFromString(written, { ...(country && { defaultCountry: country }), extract: false });
  const number = parse(text);
  if (!number?.isPossible() || number.number.length > maxE164Length) return undefined;
  // A number of only zeros is a placeholder.
  if (/^0+$/.test(number.nationalNumber)) return undefined;
  // Parsing drops at most one prefix. If parsing the result drops another, the result is not the number as dialled.
  const isStable = number.number === text || parse(number.number)?.number === number.number;
  return isStable ? number : undefined;
}

/** All checks of UTS #46. CheckHyphens also refuses labels that RFC 5890 section 2.3.1 reserves. */
const strict = {
  checkBidi: true,
  checkHyphens: true,
  checkJoiners: true,
  useSTD3ASCIIRules: true,
  verifyDNSLength: true,
};

const isLetters = (text: string): boolean => /^[a-z]+$/i.test(text);

const member = (set: ReadonlySet<string>, text: string): string | undefined => (set.has(text) ? text : undefined);
