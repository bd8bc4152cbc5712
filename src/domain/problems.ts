/** What can be wrong with one field. The vocabulary is published: a caller may switch on it. */
export type ProblemCode =
  | 'required'
  | 'invalid_type'
  | 'invalid_format'
  | 'invalid_value'
  | 'too_long'
  | 'reserved'
  | 'unknown_field'
  | 'exactly_one';

/** One broken rule. `message` never repeats what was submitted: it may be personal data. */
export interface Problem {
  /** Path from the root of the request, e.g. `customer.email`. */
  readonly field: string;
  readonly code: ProblemCode;
  readonly message: string;
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export const accepted = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const refused = (...problems: readonly Problem[]): Parsed<never> => ({ ok: false, problems });

/**
 * The first problem of each field, in the order found. A field that is malformed is not also reported as
 * missing: the caller has one thing to mend.
 */
export function onePerField(problems: readonly Problem[]): Problem[] {
  const seen = new Set<string>();
  return problems.filter(({ field, code }) => {
    // Several unknown properties may share the path of their parent, and a rule about several fields that of one of them;
    // each stands for itself.
    if (code === 'unknown_field' || code === 'exactly_one') return true;
    const first = !seen.has(field);
    seen.add(field);
    return first;
  });
}
