/**
 * The limit of the stack without a database: a bare Fastify that sends the service's answers and does nothing else.
 * Started as `node bare.ts '{"<method> <path>": "<body>", …}'`.
 */
import { serveAnswers } from './fixed-answers.ts';

await serveAnswers(JSON.parse(process.argv[2] as string));
