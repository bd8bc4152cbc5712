import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import languages from 'iso-639-1';
import countries from 'iso-3166-1';
import { type CountryCode, isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/min/es6';
import { toASCII } from 'tr46';
import type { ReferenceData } from '../domain/reference-data.ts';

/** Reference data from maintained libraries: ISO tables, numbering plans, UTS #46. */
export function createReferenceData(): ReferenceData {
  const countryCodes = new Set(countries.all().map(({ alpha2 }) => alpha2));
  const languageCodes = new Set(languages.getAllCodes());

  function phoneNumber(dialled: string, countryCode: string | undefined): string | undefined {
    // For a country without a numbering plan (Antarctica) only international numbers are accepted.
    const defaultCountry =
      countryCode !== undefined && isSupportedCountry(countryCode) ? (countryCode as CountryCode) : undefined;
    const parse = (text: string) =>
      parsePhoneNumberFromString(text, { ...(defaultCountry && { defaultCountry }), extract: false });
    const number = parse(dialled);
    // Some countries' plans allow more than the 15 digits of E.164. A number of only zeros is a placeholder.
    if (!number?.isPossible() || number.number.length > '+'.length + 15 || /^0+$/.test(number.nationalNumber)) {
      return undefined;
    }
    // Parsing drops at most one prefix. If parsing the result drops another, the result is not the number as dialled.
    return parse(number.number)?.number === number.number ? number.number : undefined;
  }

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
