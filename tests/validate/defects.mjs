// usage: node defects.mjs EXAMPLES OUT      Writes one file per planted defect into OUT, made from the examples.
// Each must be found; who finds what is printed by self-test.
import fs from 'node:fs';
import path from 'node:path';

const [examples, out] = process.argv.slice(2);
const example = (name) => JSON.parse(fs.readFileSync(path.join(examples, `${name}.json`), 'utf8'));
const reminder = 'communication-email-reminder';
const stopped = 'communication-stopped';
const group = 'group-segment';
const note = 'document-daily-note';
const origin = 'provenance-communication';

const defects = {
  'status-not-in-value-set': [reminder, (r) => { r.status = 'sent'; }],
  'status-not-terminal': [reminder, (r) => { r.status = 'in-progress'; }],
  'status-missing': [reminder, (r) => { delete r.status; }],
  'priority-not-in-value-set': [reminder, (r) => { r.priority = 'high'; }],
  'hl7-medium-code-unknown': [reminder, (r) => { r.medium[0].coding[0].code = 'EMAIL'; }],
  'our-channel-code-unknown': [reminder, (r) => { r.medium[0].coding[1].code = 'pigeon'; }],
  'status-reason-code-unknown': [stopped, (r) => { r.statusReason.coding[0].code = 'bounced'; }],
  'status-reason-missing': [stopped, (r) => { delete r.statusReason; }],
  'datetime-without-zone': [reminder, (r) => { r.sent = '2026-11-20T10:00:00'; }],
  'datetime-not-a-day': [reminder, (r) => { r.sent = '2026-02-30T10:00:00Z'; }],
  'sent-missing': [reminder, (r) => { delete r.sent; delete r.received; }],
  'received-but-not-sent': [stopped, (r) => { delete r.sent; r.received = '2026-11-20T15:00:00Z'; }],
  'two-payload-contents': [reminder, (r) => { r.payload[0].contentReference = { reference: 'DocumentReference/1' }; }],
  'payload-content-missing': [reminder, (r) => { r.payload = [{ id: 'p1' }]; }],
  'subject-of-wrong-type': [reminder, (r) => { r.subject.reference = 'Practitioner/1'; }],
  'subject-missing': [reminder, (r) => { delete r.subject; }],
  'encounter-of-wrong-type': [reminder, (r) => { r.encounter = { reference: 'Patient/1' }; }],
  'identifier-missing': [reminder, (r) => { delete r.identifier; }],
  'identifier-of-another-system': [reminder, (r) => { r.identifier[0].system = 'urn:other'; }],
  'identifier-without-value': [reminder, (r) => { delete r.identifier[0].value; }],
  'identifier-twice': [reminder, (r) => { r.identifier.push(r.identifier[0]); }],
  'empty-array': [reminder, (r) => { r.note = []; }],
  'empty-object': [reminder, (r) => { r.topic = {}; }],
  'empty-string': [reminder, (r) => { r.payload[0].contentString = ''; }],
  'null-member': [reminder, (r) => { r.received = null; }],
  'unknown-field': [reminder, (r) => { r.channel = 'email'; }],
  'object-for-array': [reminder, (r) => { [r.medium] = r.medium; }],
  'document-behind-an-address': [note, (r) => { r.content[0].attachment.url = 'https://ehr.example/Binary/1'; }],
  'document-without-its-text': [note, (r) => { delete r.content[0].attachment.data; }],
  'document-of-two-texts': [note, (r) => { r.content.push(r.content[0]); }],
  'document-date-without-time': [note, (r) => { r.date = '2026-11-20'; }],
  'document-status-not-in-value-set': [note, (r) => { r.docStatus = 'done'; }],
  'document-about-a-group': [note, (r) => { r.subject.reference = 'Group/1'; }],
  'provenance-without-agent': [origin, (r) => { delete r.agent; }],
  'string-for-boolean': [group, (r) => { r.actual = 'true'; }],
  'profile-of-ours-that-is-not-there': [reminder, (r) => { r.meta.profile[0] += '-2'; }],
  'group-of-animals': [group, (r) => { r.type = 'animal'; }],
  'group-member-of-wrong-type': [group, (r) => { r.member[0].entity.reference = 'Location/1'; }],
  'group-member-without-entity': [group, (r) => { delete r.member[0].entity; }],
  'group-with-two-rules': [group, (r) => { r.characteristic.push(r.characteristic[0]); }],
  'group-without-identifier': [group, (r) => { delete r.identifier; }],
  'group-member-in-or-out': [group, (r) => { delete r.member[0].inactive; }],
  'group-quantity-negative': [group, (r) => { r.quantity = -1; }],
  'outcome-without-issue': ['operation-outcome', (r) => { delete r.issue; }],
  'outcome-code-not-in-value-set': ['operation-outcome', (r) => { r.issue[0].code = 'oops'; }],
};

for (const [name, [from, spoil]] of Object.entries(defects)) {
  const resource = example(from);
  spoil(resource);
  fs.writeFileSync(path.join(out, `${name}.json`), JSON.stringify(resource));
}
// NDJSON: the second line is bad, the first and third are not.
const line = JSON.stringify(example(reminder));
fs.writeFileSync(path.join(out, 'ndjson-second-line.ndjson'), `${line}\n${line.replace('"completed"', '"done"')}\n${line}\n`);
fs.writeFileSync(path.join(out, 'cut-off.json'), line.slice(0, -20));
