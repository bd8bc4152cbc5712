import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import languages from 'iso-639-1';
import countries from 'iso-3166-1';
import { type CountryCode, isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/min/es6';
import type { ReferenceData } from '../domain/reference-data.ts';

/** Reference data: ISO tables and numbering plans from maintained libraries, IDNA from the runtime. */
export function createReferenceData(): ReferenceData {
  const countryCodes = new Set(countries.all().map(({ alpha2 }) => alpha2));
  const languageCodes = new Set(languages.getAllCodes());

  function phoneNumber(text: string, countryCode: string | undefined): string | undefined {
    // For a country without a numbering plan (Antarctica) only international numbers are accepted.
    const defaultCountry =
      countryCode !== undefined && isSupportedCountry(countryCode) ? (countryCode as CountryCode) : undefined;
    // For "(+49) 170": the library accepts no character before the plus sign.
    const dialled = text.replace(/^[([](?=\+)/, '');
    const number = parsePhoneNumberFromString(dialled, { ...(defaultCountry && { defaultCountry }), extract: false });
    // Some countries' plans allow more than the 15 digits of E.164.
    if (!number?.isPossible() || number.number.length > '+'.length + 15) return undefined;
    // Parsing removes one national prefix, so one remains of a doubled prefix. Repeat until the result is stable.
    return number.number === text ? text : phoneNumber(number.number, countryCode);
  }

  return {
    // Checked before the case is changed, which turns some non-ASCII letters into ASCII (`ß`, `ﬁ`, the Kelvin sign).
    countryCode: (text) => (isLetters(text) ? member(countryCodes, text.toUpperCase()) : undefined),
    languageCode: (text) => (isLetters(text) ? member(languageCodes, text.toLowerCase()) : undefined),

    phoneNumber,
    asciiDomain: (domain) => domainToASCII(domain) || undefined,
    isIpAddress: (text, version) => (version === 4 ? isIPv4(text) : isIPv6(text)),
  };
}

const isLetters = (text: string): boolean => /^[a-z]+$/i.test(text);

const member = (set: ReadonlySet<string>, text: string): string | undefined => (set.has(text) ? text : undefined);
