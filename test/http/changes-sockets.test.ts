/** Requests that wait for change events, over real connections. */
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { base, overHttp } from '../support/client.ts';
import { startService } from '../support/service.ts';

t.test('a client that goes, or sends no more, gives its place to others', async (t) => {
  const { app, credentials } = await startService(t);
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as AddressInfo;
  const headers = Object.entries(credentials).map(([name, value]) => `${name}: ${value}\r\n`);
  const request = `GET ${base}/changes?wait=30 HTTP/1.1\r\nhost: test\r\n${headers.join('')}\r\n`;
  /** Takes all places. One request more is refused, and shows that they are taken. */
  async function takeAll(): Promise<Socket[]> {
    const sockets = Array.from({ length: 101 }, () => connect(port, '127.0.0.1'));
    for (const socket of sockets) socket.write(request);
    const [refused, answer] = await Promise.race(
      sockets.map(async (socket) => [socket, String((await once(socket, 'data'))[0])] as const),
    );
    t.match(answer, /^HTTP\/1\.1 429 /);
    refused.destroy();
    return sockets.filter((socket) => socket !== refused);
  }
  const send = overHttp(`http://127.0.0.1:${port}`);
  const ask = async (wait: string): Promise<number> =>
    (await send({ method: 'GET', url: `${base}/changes?wait=${wait}`, headers: { ...credentials } })).status;
  const isFree = async () => {
    while ((await ask('1')) === 429);
  };

  const gone = await takeAll();
  for (const socket of gone) socket.destroy();
  await isFree();

  const halfClosed = await takeAll();
  const began = performance.now();
  for (const socket of halfClosed) socket.end();
  const answers = await Promise.all(halfClosed.map(text));
  t.ok(answers.every((answer) => /^HTTP\/1\.1 200 [\s\S]*"changes":\[\]/.test(answer)));
  t.ok(performance.now() - began < 20_000, 'before the time was over');
  await isFree();
  await Promise.all(halfClosed.filter(({ closed }) => !closed).map((socket) => once(socket, 'close')));
});
