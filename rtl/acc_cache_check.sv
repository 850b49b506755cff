// What KVW and ATT refuse before they begin, in the order in which the device model looks.
`default_nettype none
module acc_cache_check #(
  parameter int unsigned Channels = 1
) (
  input  logic                    bad_i,           // geometry
  input  logic [22:0]             lines_i,         // of a channel
  input  acc_unit_pkg::map_t      map_i,
  input  acc_unit_pkg::settings_t settings_i,
  input  logic [23:0]             cache_i,
  input  logic [23:0]             params_i,
  input  logic [1:0]              vectors_i,       // of parameters
  input  logic [9:0]              block_a_i,       // of the vector memory
  input  logic [9:0]              block_b_i,
  input  logic [14:0]             floats_i,        // in either
  output logic [9:0]              vector_lines_o,  // of a vector of parameters
  output acc_pkg::error_e         error_o
);
  localparam int unsigned ChannelLog = $clog2(Channels);
  logic [39:0] layer_lines;
  logic [14:0] kv_floats;
  logic [9:0]  rope_lines;
  logic [8:0]  head_dim;
  logic [31:0] rope;
  logic [10:0] blocks;
  logic        cache_beyond, params_beyond, blocks_beyond;
  assign layer_lines = map_i.layer_lines;
  assign kv_floats   = map_i.kv_floats;
  assign head_dim    = settings_i.head_dim[8:0];
  assign rope        = settings_i.rope;

  function automatic logic [9:0] lines_of(input logic [14:0] n);
    lines_of = 10'((11'((16'(n) + 16'd15) >> 4) + 11'(Channels) - 11'd1) >> ChannelLog);
  endfunction
  assign vector_lines_o = lines_of(kv_floats);
  assign rope_lines     = lines_of(15'(head_dim));
  assign blocks         = 11'((16'(floats_i) + 16'd63) >> 6);
  assign cache_beyond   = 41'(cache_i) + 41'(layer_lines) > 41'(lines_i);
  assign params_beyond  = 33'(rope) + 33'(rope_lines) > 33'(lines_i) ||
                          (vectors_i != 2'd0 && 33'(params_i) + 33'(vectors_i) * 33'(vector_lines_o) > 33'(lines_i));
  assign blocks_beyond  = 12'(block_a_i) + 12'(blocks) > 12'(acc_pkg::VmemBlocks) ||
                          12'(block_b_i) + 12'(blocks) > 12'(acc_pkg::VmemBlocks);
  always_comb begin
    error_o = acc_pkg::ErrorNone;
    if (bad_i) error_o = acc_pkg::ErrorBadField;
    else if (cache_beyond || params_beyond) error_o = acc_pkg::ErrorBadAddress;
    else if (blocks_beyond) error_o = acc_pkg::ErrorBadField;
  end
endmodule
`default_nettype wire
