/** The files that are made from the source and kept in the repository, by their path from its root. */
import { createService } from '../src/index.ts';
import { type OpenApi, postmanCollection } from './postman.ts';
import { statementsDocument } from './statements.ts';

export async function documents(): Promise<Record<string, string>> {
  const server = await createService();
  try {
    const openApi = (await server.inject('/openapi.json')).json<OpenApi>();
    return {
      'docs/statements.md': statementsDocument(),
      'openapi.json': pretty(openApi),
      'postman/c2a-customers.postman_collection.json': pretty(postmanCollection(openApi)),
    };
  } finally {
    await server.close();
  }
}

const pretty = (document: object): string => `${JSON.stringify(document, null, 2)}\n`;
