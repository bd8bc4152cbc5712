/** What can be wrong with one field. The vocabulary is published: a caller may switch on it. */
export type ViolationCode =
  | 'required'
  | 'invalid_type'
  | 'invalid_format'
  | 'invalid_value'
  | 'too_long'
  | 'reserved'
  | 'unknown_field'
  | 'exactly_one';

/** One broken rule. `message` never repeats what was submitted: it may be personal data. */
export interface Violation {
  /** Path from the root of the request, e.g. `customer.email`. */
  readonly field: string;
  readonly code: ViolationCode;
  readonly message: string;
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly violations: readonly Violation[] };

export const accepted = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const refused = (...violations: readonly Violation[]): Parsed<never> => ({ ok: false, violations: violations });

/**
 * The first problem of each field, in the order found. A field that is malformed is not also reported as
 * missing: the caller has one thing to mend.
 */
export function onePerField(violations: readonly Violation[]): Violation[] {
  const seen = new Set<string>();
  return violations.filter(({ field, code }) => {
    // Several unknown properties may share the path of their parent, and a rule about several fields that of one of them;
    // each stands for itself.
    if (code === 'unknown_field' || code === 'exactly_one') return true;
    const first = !seen.has(field);
    seen.add(field);
    return first;
  });
}
