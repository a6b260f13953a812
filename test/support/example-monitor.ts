// Greeting: connect and read the first line that the server sends, as an SMTP or FTP server does.

import type { OptionRow, Poll, Sample } from 'anybal/monitor';

const options = [
  { name: 'interval', kind: 'seconds', min: 0.1, default: 10, doc: 'Seconds between checks.' },
  { name: 'timeout', kind: 'seconds', min: 0.1, default: 5, doc: 'Seconds for the whole check.' },
  { name: 'starts-with', kind: 'string', default: '220 ', doc: 'How the first line must begin.' },
] as const satisfies readonly OptionRow[];

export default {
  apiVersion: 1,
  name: 'Greeting',
  kind: 'poll',
  asks: 'endpoint',
  options,
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => ({
    async check(target, cut) {
      // Throws when it fails. Nobody needs to catch: a refused connection is down, having no route ourselves is unknown.
      const stream = await tools.connect({ address: target.address, port: target.port }, cut);
      const line = await new Promise<string>((resolve, reject) => {
        let text = '';
        const ended = () => reject(new Error(`closed after ${text.length} characters`));
        stream.on({
          onData(bytes) {
            text += new TextDecoder('latin1').decode(bytes);
            if (text.includes('\n') || text.length > 512) resolve(text.split('\r\n', 1)[0] ?? '');
          },
          onEnd: ended,
          onClose: ended,
          onDrain() {},
        });
        cut.onAbort(ended);
      }).finally(() => stream.close('rst'));
      if (line.startsWith(o['starts-with'])) return { is: 'up', detail: line };
      return { is: 'down', reason: `greeted with ${JSON.stringify(line)}` };
    },
  }),
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = { stream: () => '220 mail.example.org ESMTP\r\n' };
