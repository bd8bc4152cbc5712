/** The files of the repository that are generated from the source, by their path from its root. */
import { clientTypes } from './client-types.ts';
import { describeApi } from './openapi.ts';
import { postmanCollection } from './postman.ts';
import { statementsDocument } from './statements.ts';

export async function documents(): Promise<Record<string, string>> {
  const openApi = await describeApi();
  return {
    'docs/statements.md': statementsDocument(),
    'openapi.json': pretty(openApi),
    'packages/client/src/openapi.ts': await clientTypes(openApi),
    'postman/c2a-customers.postman_collection.json': pretty(postmanCollection(openApi)),
  };
}

const pretty = (document: object): string => `${JSON.stringify(document, null, 2)}\n`;
