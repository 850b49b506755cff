/* The whole public interface of AccLLM. */
#ifndef ACCLLM_H
#define ACCLLM_H

#include "status.h"
#include "runtime.h"
#include "tokenizer.h"
#include "engine.h"
#include "batch.h"
#include "state.h"
#include "sampler.h"
#include "grammar.h"
#include "compress.h"
#include "eval.h"
#include "server.h"

#endif
