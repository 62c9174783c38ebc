/* Classifies images with an exported SavedModel and TensorFlow's C library, without Python.

   The library and its headers are part of TensorFlow's Python package:

       TF=$(python -c "import tensorflow as tf; print(tf.sysconfig.get_lib())")
       cc client.c -o client -I"$TF/include" -L"$TF" -Wl,-rpath,"$TF" \
           -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2
       ./client SAVED_MODEL INPUT OUTPUT IMAGE...

   IMAGE is a PNG or JPEG file. INPUT and OUTPUT are the tensors of the signature `serve_bytes` that
   `saved_model_cli show` prints, such as serve_bytes_image_bytes:0 and StatefulPartitionedCall_1:0.
   The program prints one line of outputs for each image. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static void check(const TF_Status* status, const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

/* Reads a file into a string of a tensor. */
static void read_file(const char* path, TF_TString* string) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  char* bytes = NULL;
  size_t size = 0, got;
  do {
    bytes = realloc(bytes, size + 65536);
    got = fread(bytes + size, 1, 65536, file);
    size += got;
  } while (got > 0);
  fclose(file);
  TF_StringInit(string);
  TF_StringCopy(string, bytes, size);
  free(bytes);
}

/* Finds a tensor by "name:index", or by "name" for index 0. */
static TF_Output find(TF_Graph* graph, const char* tensor) {
  char name[1024];
  snprintf(name, sizeof name, "%s", tensor);
  char* colon = strrchr(name, ':');
  if (colon != NULL) *colon = 0;
  TF_Output found = {TF_GraphOperationByName(graph, name), colon == NULL ? 0 : atoi(colon + 1)};
  if (found.oper == NULL) {
    fprintf(stderr, "no tensor %s in this model\n", tensor);
    exit(1);
  }
  return found;
}

int main(int count, char** arguments) {
  if (count < 5) {
    fprintf(stderr, "usage: %s SAVED_MODEL INPUT OUTPUT IMAGE...\n", arguments[0]);
    return 2;
  }
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, arguments[1], tags, 1, graph, NULL, status);
  check(status, arguments[1]);

  int64_t images = count - 4;
  TF_Tensor* sent = TF_AllocateTensor(TF_STRING, &images, 1, images * sizeof(TF_TString));
  TF_TString* strings = TF_TensorData(sent);
  for (int64_t i = 0; i < images; ++i) read_file(arguments[4 + i], &strings[i]);

  TF_Output input = find(graph, arguments[2]), output = find(graph, arguments[3]);
  TF_Tensor* received = NULL;
  TF_SessionRun(session, NULL, &input, &sent, 1, &output, &received, 1, NULL, 0, NULL, status);
  check(status, "the model");

  const float* values = TF_TensorData(received);
  int64_t each = TF_TensorElementCount(received) / images;
  for (int64_t i = 0; i < images; ++i)
    for (int64_t j = 0; j < each; ++j)
      printf("%.9g%c", values[i * each + j], j + 1 < each ? ' ' : '\n');

  for (int64_t i = 0; i < images; ++i) TF_StringDealloc(&strings[i]);
  TF_DeleteTensor(sent);
  TF_DeleteTensor(received);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
