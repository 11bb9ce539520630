// Generates a picture, with progress, and saves it: npx tsx generate.ts "red apple" apple.png
//
// IMAGEGEN_ADDRESS (127.0.0.1:50051) and IMAGEGEN_API_KEY say where and as whom; IMAGEGEN_PROTO the folder of the schema.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { credentials, loadPackageDefinition, Metadata, type ClientReadableStream } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

interface GenerateEvent {
  progress?: { stage: string; step: number; total: number };
  artifact?: { data?: Buffer; seed?: string };
}

interface GenerationService {
  generate(request: object, metadata: Metadata, options: { deadline: number }): ClientReadableStream<GenerateEvent>;
}

const [prompt = "red apple", output = "apple.png"] = process.argv.slice(2);
const folder = process.env.IMAGEGEN_PROTO ?? join(__dirname, "../../proto");
const address = process.env.IMAGEGEN_ADDRESS ?? "127.0.0.1:50051";

const definition = loadSync("imagegen/v1/generation.proto", { includeDirs: [folder], longs: String, enums: String });
const { imagegen } = loadPackageDefinition(definition) as any;
const service: GenerationService = new imagegen.v1.GenerationService(address, credentials.createInsecure(), {
  "grpc.service_config": readFileSync(join(folder, "imagegen/service_config.json"), "utf8"),
});

const metadata = new Metadata();
metadata.set("x-api-key", process.env.IMAGEGEN_API_KEY ?? "");
const request = { textToImage: {}, prompt, size: { width: 512, height: 512 }, seed: "7" };
const stream = service.generate(request, metadata, { deadline: Date.now() + 600_000 });
const chunks: Buffer[] = [];
let seed = "";
stream.on("data", ({ progress, artifact }: GenerateEvent) => {
  if (progress) console.log(`${progress.stage} ${progress.step}/${progress.total}`);
  if (artifact?.data) chunks.push(artifact.data);
  if (artifact?.seed) seed = artifact.seed;
});
stream.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
stream.on("end", () => {
  const picture = Buffer.concat(chunks);
  writeFileSync(output, picture);
  console.log(`${output}: ${picture.length} bytes, seed ${seed}`);
  process.exit(0);
});
