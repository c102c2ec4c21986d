// Open-loop load of varied rows on one model, for k6: arrivals at a constant rate, whatever the answers take.
//
// Started by k6.sh and swap.sh, which set the environment: URL, ROWS (held-out CSV), RESULT (where the summary goes),
// RATE (requests/s), DURATION, BATCH (rows a body).
//
// Every answer must be 200 and name the same version in its body and in its header. The metric `sent` holds the moment
// each request left (milliseconds since 1970), tagged with the version that answered, so that swap.sh can compare it with
// the times at which versions were live.
import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import { SharedArray } from 'k6/data';
import { Trend } from 'k6/metrics';

const batch = Number(__ENV.BATCH || 1);
const rows = new SharedArray('rows', () => open(__ENV.ROWS).trim().split('\n').slice(1));
const width = rows[0].split(',').length;
const rate = Number(__ENV.RATE || 500);
const sent = new Trend('sent');

export const options = {
  scenarios: {
    load: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration: __ENV.DURATION || '10s',
      preAllocatedVUs: 32,
      maxVUs: 256,
    },
  },
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    http_reqs: ['count>0'],
  },
  summaryTrendStats: ['min', 'avg', 'p(50)', 'p(90)', 'p(99)', 'p(99.9)', 'max', 'count'],
};

function body(iteration) {
  const data = [];
  for (let offset = 0; offset < batch; offset += 1) {
    data.push(rows[(iteration * batch + offset) % rows.length]);
  }
  return `{"inputs":[{"name":"features","shape":[${batch},${width}],"datatype":"FP32","data":[${data.join(',')}]}]}`;
}

export default function () {
  const left = Date.now();
  const answer = http.post(__ENV.URL, body(exec.scenario.iterationInTest), {
    headers: { 'content-type': 'application/json' },
  });
  const named = answer.headers['Tidegate-Model-Version'];
  check(answer, {
    'status is 200': () => answer.status === 200,
    'header and body name the same version': () =>
      answer.status === 200 && named !== undefined && answer.json('model_version') === named,
  });
  sent.add(left, { version: String(named) });
}

export function handleSummary(data) {
  const values = (name) => (data.metrics[name] ? data.metrics[name].values : {});
  const duration = values('http_req_duration');
  const result = {
    requests: values('http_reqs').count || 0,
    requests_per_second: values('http_reqs').rate || 0,
    failed: values('http_req_failed').passes || 0,
    checks_failed: values('checks').fails || 0,
    // Arrivals that k6 itself was too busy to make: not the gateway's fault, but a load that was lighter than asked for.
    dropped_arrivals: values('dropped_iterations').count || 0,
    milliseconds: {
      min: duration.min,
      mean: duration.avg,
      p50: duration['p(50)'],
      p90: duration['p(90)'],
      p99: duration['p(99)'],
      p999: duration['p(99.9)'],
      max: duration.max,
    },
  };
  return { [__ENV.RESULT]: `${JSON.stringify(result, null, 2)}\n` };
}
