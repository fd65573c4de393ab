// A client of the node made of dcmjs-dimse: one request, what came of it as one line of JSON.
// node dcmjs_client.js MODULES PORT REQUEST ARGUMENT...
const fs = require('fs');
const path = require('path');
const [modules, port, kind, ...more] = process.argv.slice(2);
const dimse = require(path.join(modules, 'dcmjs-dimse'));
const { Client, Server, Scp, requests, responses, constants } = dimse;
dimse.log.level = 'error';

const result = { statuses: [], answers: [], counts: null, received: [] };
const hex = (status) => status.toString(16).padStart(4, '0');
const client = new Client();

function take(request, callback) {
  const response = responses.CStoreResponse.fromRequest(request);
  response.setStatus(constants.Status.Success);
  result.received.push(request.getDataset().getElement('SOPInstanceUID'));
  callback(response);
}

class Destination extends Scp {
  associationRequested(association) {
    for (const { context } of association.getPresentationContexts()) {
      const syntax = context.getTransferSyntaxUids()[0];
      context.setResult(constants.PresentationContextResult.Accept, syntax);
    }
    this.sendAssociationAccept();
  }
  cStoreRequest(request, callback) {
    take(request, callback);
  }
  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

const { CEchoRequest, CStoreRequest, CFindRequest, CGetRequest, CMoveRequest } = requests;
let destination = null;
let request;
if (kind === 'echo') {
  request = new CEchoRequest();
} else if (kind === 'store') {
  request = new CStoreRequest(more[0]);
} else if (kind === 'find') {
  request = CFindRequest.createStudyFindRequest(JSON.parse(more[0]));
} else if (kind === 'get') {
  request = CGetRequest.createStudyGetRequest(more[0]);
} else {
  request = CMoveRequest.createStudyMoveRequest('DCMJS', more[0]);
  destination = new Server(Destination);
  destination.on('networkError', (error) => fail(error));
  destination.listen(Number(more[1]));
}

function fail(error) {
  process.stderr.write(`${error}\n`);
  process.exit(1);
}

request.on('response', (response) => {
  result.statuses.push(hex(response.getStatus()));
  if (kind === 'find' && response.hasDataset()) {
    result.answers.push(response.getDataset().getElements());
  }
  if (kind === 'get' || kind === 'move') {
    result.counts = [response.getCompleted(), response.getFailures(), response.getWarnings()];
  }
});
client.on('cStoreRequest', take);
client.on('networkError', fail);
client.on('closed', () => {
  fs.writeSync(1, JSON.stringify(result) + '\n');
  process.exit(0);
});
client.addRequest(request);
client.send('127.0.0.1', Number(port), kind === 'store' ? 'PRONE_RM2' : 'DCMJS', 'SBB_NODE');
