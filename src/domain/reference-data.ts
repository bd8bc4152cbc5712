/** Reference data for the rules: ISO codes, numbering plans, IDNA. All methods are pure and never throw. */
export interface ReferenceData {
  /** The ISO 3166-1 alpha-2 code in upper case; undefined if it is unassigned. Accepts any letter case. */
  countryCode(text: string): string | undefined;
  /** The ISO 639-1 code in lower case; undefined if it is unassigned. Accepts any letter case. */
  languageCode(text: string): string | undefined;
  /**
   * The number in E.164 (`+491701234567`). Undefined if its length is impossible in its country, if it has only zeros,
   * if it has more than one prefix to drop (its E.164 form would then be another number), or if it can be read as two
   * numbers, unless exactly one of them is valid.
   *
   * @param dialled see `dialledNumber`. Without `+` it is read as dialled in `countryCode`; if `countryCode` is
   *   undefined, the result is undefined too.
   */
  phoneNumber(dialled: string, countryCode: string | undefined): string | undefined;
  /** The domain in ASCII, mapped and validated by UTS #46; undefined if it is invalid. Accepts any letter case. */
  asciiDomain(domain: string): string | undefined;
  /** The IP address in its canonical form (RFC 5952 for version 6); undefined if it is not one of this version. */
  ipAddress(text: string, version: 4 | 6): string | undefined;
}
