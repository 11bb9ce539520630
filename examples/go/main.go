// Generates a picture, with progress, and saves it: go run . "red apple" apple.png
//
// IMAGEGEN_ADDRESS (127.0.0.1:50051) and IMAGEGEN_API_KEY say where and as whom.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/health" // what healthCheckConfig of the service config needs
	"google.golang.org/grpc/metadata"

	pb "github.com/imagegen/imagegen/gen/go/imagegen/v1"
)

// The retry policy for clients: proto/imagegen/service_config.json.
const serviceConfig = "service_config.json"

func main() {
	prompt, output := "red apple", "apple.png"
	if len(os.Args) > 2 {
		prompt, output = os.Args[1], os.Args[2]
	}
	picture, seed, err := generate(prompt)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(output, picture, 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d bytes, seed %d\n", output, len(picture), seed)
}

func generate(prompt string) (picture []byte, seed uint64, err error) {
	config, err := os.ReadFile(serviceConfig)
	if err != nil {
		return nil, 0, err
	}
	address := os.Getenv("IMAGEGEN_ADDRESS")
	if address == "" {
		address = "127.0.0.1:50051"
	}
	connection, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithDefaultServiceConfig(string(config)))
	if err != nil {
		return nil, 0, err
	}
	defer connection.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", os.Getenv("IMAGEGEN_API_KEY"))
	width, height, seven := uint32(512), uint32(512), uint64(7)
	stream, err := pb.NewGenerationServiceClient(connection).Generate(ctx, &pb.GenerateRequest{
		Task:   &pb.GenerateRequest_TextToImage{TextToImage: &pb.TextToImage{}},
		Prompt: &prompt,
		Size:   &pb.Size{Width: &width, Height: &height},
		Seed:   &seven,
	})
	if err != nil {
		return nil, 0, err
	}
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return picture, seed, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if progress := event.GetProgress(); progress != nil {
			fmt.Printf("%s %d/%d\n", progress.GetStage(), progress.GetStep(), progress.GetTotal())
		}
		if artifact := event.GetArtifact(); artifact != nil {
			picture = append(picture, artifact.GetData()...)
			if artifact.Seed != nil {
				seed = artifact.GetSeed()
			}
		}
	}
}
